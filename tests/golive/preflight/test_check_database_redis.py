from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.db import connection, connections

from controlplane.desk import make_state_dir
from controlplane.embedded import Valkey, choose_place
from golive.models import Canary
from golive.preflight.broker import MAX_WAITING_TASKS, QUEUE, measure_redis
from golive.preflight.check_database_redis import measure
from golive.preflight.database import measure_database
from tests.golive.preflight.conftest import GOLIVE, reasons
from trading.models import Heartbeat
from trading.selectors import get_clocks
from trading.services import record_heartbeat

EVERYBODY = ("beat", "guard:sweep", "guard:triggers", "guard:risk", "guard:leases", "worker")


@pytest.fixture
def own_redis(settings, tmp_path: Path):
    make_state_dir(tmp_path)
    place = choose_place(tmp_path)
    valkey = Valkey(place)
    settings.REDIS_URL = valkey.url()
    valkey.start()
    yield redis.Redis.from_url(valkey.url(), decode_responses=True)
    valkey.stop()
    place.remove_sockets()


@pytest.mark.django_db
def test_a_durable_migrated_database_passes():
    found = measure_database()
    assert found.findings == ()
    assert found.nonce is not None
    assert found.details == {
        "write_read": "ok",
        "migrations": "applied",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
    }


@pytest.mark.django_db
def test_a_session_that_does_not_wait_for_the_disk_fails():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    (finding,) = measure_database().findings
    assert finding.reason == "database_not_durable"
    assert "synchronous_commit" in finding.next


@pytest.mark.django_db
def test_waiting_migrations_fail_with_the_command_that_applies_them():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'golive' AND name LIKE '0002%'")
    found = measure_database()
    assert [finding.reason for finding in found.findings] == ["migrations_pending"]
    assert found.findings[0].next == "python3 manage.py migrate --database owner"
    assert found.nonce is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"HOST": "127.0.0.1", "PORT": "1"}, "database_refused"),
        ({"HOST": "/nowhere", "PORT": ""}, "database_refused"),
        ({"HOST": "desk.invalid"}, "database_dns"),
        ({"PASSWORD": "wrong"}, "database_auth"),
        ({"NAME": "no_such_database"}, "database_absent"),
    ],
)
def test_why_a_database_cannot_be_reached_is_told_apart(changes, reason):
    wrapper = connections["default"]
    wrapper.close()
    kept = dict(wrapper.settings_dict)
    wrapper.settings_dict.update(changes)
    try:
        (finding,) = measure_database().findings
    finally:
        wrapper.close()
        wrapper.settings_dict.update(kept)
    assert finding.reason == reason


def test_a_durable_redis_passes(own_redis):
    details, findings = measure_redis()
    assert findings == []
    assert details == {"write_read": "ok", "appendonly": "yes", "waiting_tasks": 0}
    assert own_redis.keys("preflight:*") == []


def test_a_redis_that_forgets_or_is_behind_fails(own_redis):
    own_redis.config_set("appendonly", "no")
    own_redis.rpush(QUEUE, *["task"] * (MAX_WAITING_TASKS + 1))
    _, findings = measure_redis()
    assert [finding.reason for finding in findings] == ["redis_not_durable", "broker_lag"]


def test_a_redis_that_is_gone_is_refused(settings, free_port):
    for url in (f"redis://127.0.0.1:{free_port}/0", "unix:///nowhere/valkey.sock?db=0"):
        settings.REDIS_URL = url
        _, (finding,) = measure_redis()
        assert finding.reason == "redis_refused"
    settings.REDIS_URL = "redis://desk.invalid:6379/0"
    _, (finding,) = measure_redis()
    assert finding.reason == "redis_dns"


@pytest.mark.django_db
def test_without_a_worker_the_check_fails_and_names_every_silent_process():
    found = measure(GOLIVE)
    silent = [reason for reason in reasons(found) if not reason.startswith("redis_")]
    assert silent == ["worker_silent", "beat_silent", "guard_silent", "worker_silent"]
    assert found.details["worker"]["ping"] == "no answer"
    assert not Canary.objects.exists()


@pytest.mark.django_db
def test_a_heartbeat_that_is_old_names_the_duty(settings, free_port):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port}/0"
    for name in EVERYBODY:
        record_heartbeat(name=name)
    assert reasons(measure(GOLIVE)) == ["redis_refused"]
    Heartbeat.objects.filter(name="guard:risk").update(beat_at=get_clocks().wall_at - timedelta(seconds=16))
    found = measure(GOLIVE)
    assert reasons(found) == ["redis_refused", "guard_silent"]
    assert "guard:risk" in found.findings[1].text
    assert "guard:sweep" not in found.findings[1].text
