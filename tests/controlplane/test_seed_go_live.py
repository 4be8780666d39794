"""The demo desk loads config/go_live.yaml once; a file for another environment stops it in one line."""

import pytest
from django.core.management import CommandError, call_command

from controlplane.audit.models import AuditEvent
from golive.config_file import read_config_file, values_of
from golive.models import GoLiveConfig
from risk.limits import load_profiles
from risk.models import LimitSet
from tests.golive.configuring import load, write
from trading.models import Account, Permit

pytestmark = pytest.mark.django_db
TIGHT = ("max_position_size_usd: 100", "max_position_size_usd: 80")


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    settings.STATE_DIR = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return tmp_path


def test_the_first_start_loads_the_ceiling_and_stores_the_ladder():
    call_command("seed_demo")
    call_command("seed_demo")
    assert values_of(GoLiveConfig.objects.get()) == read_config_file()
    event = AuditEvent.objects.get(action="golive.config_load")
    assert (event.actor_kind, event.actor) == ("system", "bootstrap")
    stored = set(LimitSet.objects.values_list("digest", flat=True))
    assert stored == {limits.digest for limits in load_profiles().values()}


def test_what_people_loaded_since_stays_and_a_new_permit_is_under_it(tmp_path):
    call_command("seed_demo")
    lowered = load(tmp_path, TIGHT)
    call_command("seed_demo")
    assert GoLiveConfig.objects.latest("pk") == lowered
    permit = Permit.objects.get(active=True)
    assert LimitSet.objects.get(digest=permit.limit_set_digest).max_position_notional == 80


def test_a_file_for_another_environment_stops_it_in_one_line(tmp_path, monkeypatch):
    path = write(tmp_path, ("environment: paper", "environment: production"))
    monkeypatch.setattr("golive.config_file.get_config_path", lambda: path)
    with pytest.raises(CommandError, match="environment: means live, but TRADING_ENVIRONMENT is paper"):
        call_command("seed_demo")
    assert not Account.objects.exists()
