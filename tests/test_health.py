import socket
from pathlib import Path

import pytest
from django.conf import settings as live_settings
from django.db import connections

from controlplane.desk import load_secrets, make_state_dir
from controlplane.embedded import Valkey, choose_place
from controlplane.health import list_known_migrations

HOSTS = {"HTTP_HOST": "127.0.0.1:8000"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dead_database():
    """The default connection aimed at a port where nobody listens."""
    wrapper = connections["default"]
    wrapper.close()
    kept = dict(wrapper.settings_dict)
    wrapper.settings_dict.update({"HOST": "127.0.0.1", "PORT": str(free_port())})
    yield
    wrapper.close()
    wrapper.settings_dict.update(kept)


def test_live_answers_exactly_and_touches_nothing(client):
    answer = client.get("/health/live", **HOSTS)
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')
    assert answer["Content-Type"] == "application/json"


@pytest.mark.django_db
def test_ready_answers_exactly_when_database_and_redis_are_there(client):
    answer = client.get("/health/ready", **HOSTS)
    assert (answer.status_code, answer.content) == (200, b'{"status":"ready"}')


@pytest.mark.django_db
def test_no_health_answer_may_be_cached_or_changed(client):
    for path in ("/health/live", "/health/ready"):
        assert "no-store" in client.get(path, **HOSTS)["Cache-Control"]
        assert client.post(path, **HOSTS).status_code == 405


@pytest.mark.django_db
def test_ready_says_that_redis_is_gone_without_waiting_for_it(client, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    answer = client.get("/health/ready", **HOSTS)
    assert answer.status_code == 503
    assert answer.json() == {"status": "not_ready", "reasons": ["redis_unreachable"]}


@pytest.mark.django_db
def test_ready_comes_back_with_redis(client, settings, tmp_path: Path):
    make_state_dir(tmp_path)
    load_secrets(tmp_path)
    place = choose_place(tmp_path)
    valkey = Valkey(place)
    settings.REDIS_URL = valkey.url()
    valkey.start()
    try:
        assert client.get("/health/ready", **HOSTS).status_code == 200
        valkey.stop()
        assert client.get("/health/ready", **HOSTS).json()["reasons"] == ["redis_unreachable"]
        valkey.start()
        assert client.get("/health/ready", **HOSTS).status_code == 200
    finally:
        valkey.stop()
        place.remove_sockets()


@pytest.mark.django_db(transaction=True)
def test_ready_says_that_the_database_is_gone(client, dead_database):
    assert client.get("/health/live", **HOSTS).status_code == 200
    answer = client.get("/health/ready", **HOSTS)
    assert answer.json() == {"status": "not_ready", "reasons": ["database_unreachable"]}
    assert answer.status_code == 503


@pytest.mark.django_db
def test_ready_says_that_migrations_wait(client):
    with connections["default"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'golive' AND name LIKE '0002%'")
    assert client.get("/health/ready", **HOSTS).json()["reasons"] == ["migrations_pending"]


def test_every_app_of_ours_has_migrations_that_are_waited_for():
    known = {app for app, _ in list_known_migrations()}
    assert {"audit", "alerts", "approvals", "trading", "risk", "golive"} <= known
    assert live_settings.SECURE_REDIRECT_EXEMPT == [r"^health/", r"^metrics$"]
