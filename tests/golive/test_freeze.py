"""Every group is measured, frozen and compared; what differs is named, and nothing secret is in it."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from controlplane.alerts.rules import get_alert_rules
from controlplane.audit.canonical import canonical_text
from controlplane.audit.models import AuditEvent
from controlplane.code_version import get_code_version
from controlplane.errors import DomainError
from golive import freeze as freezing
from golive.freeze import SOURCES, find_drift, find_unloaded, measure_groups, take_freeze
from golive.models import Freeze
from golive.programme_rules import get_programme_rules
from risk.exposure import get_exposure, store_exposure
from risk.global_risk.limits import get_global_risk_limits
from risk.limits import load_profiles, with_digest
from risk.registration import store_limit_set
from risk.stops.rules import get_stop_rules
from tests.approvals.conftest import choose_mode
from tests.golive.configuring import REASON, hold_files_still, load, write
from tests.risk import desk as rows
from trading import services as trading
from trading.models import StrategyAssignment

pytestmark = pytest.mark.django_db

# What the issue names, and where each is measured.
NAMED = {
    "go_live config": "go_live",
    "profiles": "profiles",
    "exposure limits": "exposure",
    "global risk": "global_risk",
    "stop rules": "emergency_stop",
    "programme rules": "programme",
    "criteria of advancement": "advancement",
    "checklist": "checklist",
    "alert rules": "alerts",
    "prometheus rules": "prometheus",
    "venues": "venues",
    "what each account trades, and where": "accounts",
    "strategies with code version": "strategies",
    "approval mode and rules": "approvals",
    "feature settings": "settings",
    "dependency lock": "dependencies",
    "code version": "code",
}


@pytest.fixture(autouse=True)
def still_files(monkeypatch):
    hold_files_still(monkeypatch)


@pytest.fixture
def account(tmp_path):
    choose_mode()
    load(tmp_path)
    return rows.make_desk()


def names(found):
    return [item.group for item in found]


def test_every_group_that_is_named_is_measured(account):
    assert set(NAMED.values()) == set(SOURCES)
    groups = measure_groups()
    assert list(groups) == list(SOURCES)
    assert len({group.digest for group in groups.values()}) == len(SOURCES)
    assert all(group.value not in ({}, [], None) for group in groups.values())
    assert groups["code"].value == get_code_version()
    assert groups["approvals"].value["mode"] == "dual"
    assert groups["accounts"].value["main"]["venues"] == ["binanceusdm"]
    assert groups["dependencies"].value["lock"].keys() == {"deploy/requirements.lock"}
    assert groups["strategies"].value["strategies"]["trend"]["parameters"]["hold"] == "0:25:00"
    assert "trading/strategies/trend.py" in groups["strategies"].value["files"]
    assert "config/prometheus/rules.yml" in groups["prometheus"].value


def test_the_same_desk_has_the_same_digests(account):
    assert measure_groups() == measure_groups()
    first, second = take_freeze("olga"), take_freeze("olga")
    assert first.digest == second.digest
    assert first.groups == {name: group.digest for name, group in measure_groups().items()}
    assert find_drift(first) == []


def test_a_freeze_is_audited_and_never_changes(account):
    row = take_freeze("olga")
    assert (row.code_version, row.taken_by) == (get_code_version(), "olga")
    event = AuditEvent.objects.get(action="golive.freeze")
    assert (event.subject_id, event.payload["detail"]["groups"]) == (row.digest, row.groups)
    assert json.loads(row.body).keys() == SOURCES.keys()
    for change in ("UPDATE golive_freeze SET body = '{}'", "DELETE FROM golive_freeze"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
    assert Freeze.objects.get() == row


def test_nothing_secret_is_frozen(account, settings, monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "do-not-show-me")
    settings.ALERT_URLS = ["json://do-not-show-me"]
    body = take_freeze("olga").body
    for secret in ("do-not-show-me", settings.SECRET_KEY, settings.REDIS_URL, "ownerpw", "apppw"):
        assert secret not in body


def test_a_desk_that_loaded_nothing_cannot_be_frozen():
    with pytest.raises(DomainError) as caught:
        take_freeze("olga")
    assert caught.value.code == "nothing_loaded"
    assert not Freeze.objects.exists()


def other_stop_rules():
    return replace(get_stop_rules(), max_losing_run=get_stop_rules().max_losing_run + 1)


def other_venues():
    venues = freezing.load_venue_config()
    return replace(venues, symbols=(*venues.symbols, "XRPUSDT"))


CHANGED = {
    "emergency_stop": (lambda: other_stop_rules(), "max_losing_run: 5 -> 6"),
    "global_risk": (lambda: replace(get_global_risk_limits(), samples=7), "samples: 200 -> 7"),
    "programme": (lambda: replace(get_programme_rules(), digest="0"), "digest: "),
    "alerts": (lambda: replace(get_alert_rules(), most_reminders=9), "most_reminders: 3 -> 9"),
    "prometheus": (lambda: {"config/prometheus/rules.yml": "0"}, "config/prometheus/rules.yml: "),
    "venues": (lambda: other_venues(), "symbols: BTCUSDT, ETHUSDT, SOLUSDT, BNBUSDT -> "),
    "strategies": (lambda: {"files": {}}, "files.trading/strategies/__init__.py: "),
    "settings": (lambda: {"https_only": True}, "https_only: false -> true"),
    "dependencies": (lambda: {"lock": {}}, "python: 3."),
    "code": (lambda: "0" * 64, " -> 0000"),
    "advancement": (dict, " -> absent"),
    "approvals": (
        lambda: {"mode": "solo", "kinds": measure_groups()["approvals"].value["kinds"]},
        "mode: dual -> solo",
    ),
}


@pytest.mark.parametrize("group", CHANGED)
def test_another_loaded_value_is_drift_of_its_group_alone(account, monkeypatch, group):
    row = take_freeze("olga")
    make, text = CHANGED[group]
    other = make()
    monkeypatch.setitem(SOURCES, group, replace(SOURCES[group], loaded=lambda: other))
    found = find_drift(row, account)
    assert names(found) == [group]
    assert text in found[0].text
    monkeypatch.undo()
    assert find_drift(row, account) == []


def test_a_loaded_ceiling_drifts_and_the_same_values_again_do_not(account, tmp_path):
    row = take_freeze("olga")
    load(tmp_path, ("max_leverage: 2", "max_leverage: 3"))
    found = find_drift(row, account)
    assert [str(item) for item in found] == ["go_live: max_leverage: 2 -> 3"]
    load(tmp_path)
    assert find_drift(row, account) == []


def test_loaded_limits_of_exposure_drift(account):
    row = take_freeze("olga")
    exposure = get_exposure()
    limits = {**exposure.limits, "all": Decimal(5)}
    store_exposure(exposure=replace(exposure, limits=limits), actor="olga", reason=REASON)
    assert [str(item) for item in find_drift(row)] == ["exposure: limits.all: 200000 -> 5"]


def test_a_profile_drifts_when_it_is_loaded_and_not_before(account, monkeypatch):
    profiles = load_profiles()
    row = take_freeze("olga")
    changed = with_digest(replace(profiles["SMALL"], max_positions=2))
    monkeypatch.setattr(freezing, "load_profiles", lambda: {**profiles, "SMALL": changed})
    assert find_drift(row) == []
    assert [str(item) for item in find_unloaded()] == [
        f"profiles: SMALL: {profiles['SMALL'].digest} -> {changed.digest}"
    ]
    store_limit_set(limits=changed, actor="olga", reason=REASON)
    assert names(find_drift(row)) == ["profiles"]
    assert find_unloaded() == []


def test_what_the_ceiling_lowered_is_no_profile(account, tmp_path, monkeypatch):
    load(tmp_path, ("max_leverage: 2", "max_leverage: 1"))
    monkeypatch.setattr(freezing, "load_profiles", dict)
    assert measure_groups()["profiles"].value["MICRO"] == load_profiles()["MICRO"].digest


def test_only_an_accounts_own_part_is_its_drift(account):
    row = take_freeze("olga")
    other = trading.open_account(name="other", environment="paper", venues=["binanceusdm"])
    assert find_drift(row, account) == []
    assert names(find_drift(row)) == ["accounts"]
    assert names(find_drift(row, other)) == ["accounts"]
    StrategyAssignment.objects.filter(account=account, strategy="trend").update(symbols=["SOLUSDT"])
    assert [str(item) for item in find_drift(row, account)] == [
        "accounts: strategies.trend: BTCUSDT, DOGEUSDT, SOLUSDT -> SOLUSDT"
    ]


def test_a_group_that_cannot_be_read_has_drifted(account, monkeypatch, tmp_path):
    row = take_freeze("olga")
    bad = write(tmp_path, ("max_leverage: 2", "max_leverage: -2"))
    source = SOURCES["go_live"]
    reading = lambda: freezing.read_config_file(bad)  # noqa: E731
    monkeypatch.setitem(SOURCES, "go_live", replace(source, loaded=reading))
    assert "cannot be read" in find_drift(row)[0].text
    monkeypatch.setitem(SOURCES, "go_live", replace(source, filed=reading))
    (unloaded,) = find_unloaded()
    assert f"{bad}:" in unloaded.text


def test_a_group_too_many_or_too_few_is_drift(account):
    whole = take_freeze("olga")
    body, groups = json.loads(whole.body), dict(whole.groups)
    del groups["code"], body["code"]
    groups["weather"] = body["weather"] = "0"
    row = Freeze.objects.create(
        digest="0" * 64, groups=groups, body=canonical_text(body), code_version="0", taken_by="olga"
    )
    assert [str(item) for item in find_drift(row)] == [
        "code: was not frozen",
        "weather: is not measured any more",
    ]


def test_a_changed_file_is_seen_and_changes_nothing(account, monkeypatch):
    row = take_freeze("olga")
    assert find_unloaded() == []
    filed = {name: source for name, source in SOURCES.items() if source.filed is not None}
    for name, source in filed.items():
        monkeypatch.setitem(SOURCES, name, replace(source, filed=lambda: {"other": 1}))
    assert names(find_unloaded()) == list(filed)
    assert find_drift(row) == []


# As they are; a test replaces those of SOURCES. The code is digested whole, and that is one text.
FILED = {name: source for name, source in SOURCES.items() if source.filed is not None and name != "code"}


@pytest.mark.parametrize("name", FILED)
def test_a_file_is_compared_with_something_of_its_own_form(account, name):
    loaded, filed = FILED[name].loaded(), FILED[name].filed()
    assert canonical_text(loaded) == canonical_text(filed)
