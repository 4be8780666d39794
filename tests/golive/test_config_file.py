"""config/go_live.yaml: what it may say, what loading it does at once, and that versions never change."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from controlplane.approvals.core import Actor, ActorKind, Role, VoteDecision
from controlplane.approvals.selectors import actor_of_user, get_actor, get_user
from controlplane.approvals.voting import vote_on_request
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from controlplane.yaml_file import YamlError
from golive.ceiling import (
    AboveCeiling,
    ActivationDisabled,
    ConfigMissing,
    ensure_effective_limits,
    list_key_conditions,
    require_config,
    require_enabled,
    require_within_ceiling,
)
from golive.config_file import (
    KEYS,
    ensure_config,
    get_active_config,
    load_config,
    read_config_file,
    values_of,
)
from golive.models import GoLiveConfig
from risk import models, overrides
from risk.core.values import RiskLevel
from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from risk.registration import store_limit_set
from risk.selectors import get_active_limits
from tests.approvals.conftest import choose_mode, code_of, forget_codes, make_person
from tests.golive.configuring import REASON, activate, load, loader, write
from tests.risk import desk as rows
from trading.core.values import Environment
from trading.models import Permit, TradingState
from trading.selectors import get_clocks

D = Decimal
MICRO = load_profiles()["MICRO"]
BOT = Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset({Role.OPERATOR}))
TIGHT = ("max_position_size_usd: 100", "max_position_size_usd: 80")
OFF = ("activation_enabled: true", "activation_enabled: false")


def test_the_shipped_file_says_what_the_product_says():
    values = read_config_file()
    assert (values.environment, values.activation_enabled) == (Environment.PAPER, True)
    assert (values.allowed_profiles, values.default_profile) == (("MICRO",), "MICRO")
    assert (values.min_testnet_trades, values.require_risk_state) == (3, RiskLevel.OK)
    assert values.required_preflight is values.require_testnet_history is values.require_ess_inactive is True
    assert (values.max_position_notional, values.max_leverage) == (D(100), D(2))
    assert (values.max_portfolio_risk_ratio, values.max_trade_risk_ratio) == (D("0.1"), D("0.02"))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("max_leverage: 2", "max_leverage: 0", "max_leverage: must be above 0, found 0"),
        ("max_leverage: 2", "max_leverage: 1001", "max_leverage: must be at most 1000, found 1001"),
        ("max_leverage: 2", "max_leverage: 1.2345678", "max_leverage: at most 6 decimals are kept"),
        ("max_leverage: 2", "max_lever: 2", "max_lever: unknown key"),
        ("max_leverage: 2", "max_leverage: 2\nsimulate: true", "simulate: unknown key"),
        ("max_leverage: 2", "max_leverage: 2x", "max_leverage: expected a number"),
        (
            "environment: paper",
            "environment: staging",
            "environment: expected one of paper, demo, production",
        ),
        ("environment: paper", "environment: live", "environment: expected one of paper, demo, production"),
        ("environment: paper", "environment: production", "environment: means live, but TRADING_ENVIRONMENT"),
        ("environment: paper", "environment: demo", "means demo, but TRADING_ENVIRONMENT is paper"),
        ("required_preflight: true", "required_preflight: false", "required_preflight: can only be true"),
        ("require_ess_inactive: true", "require_ess_inactive: false", "inactive: can only be true"),
        ("require_testnet_history: true", "require_testnet_history: false", "history: can only be true"),
        ("require_testnet_history: true", "require_testnet_history: 1", "expected true or false"),
        ("activation_enabled: true", "activation_enabled: maybe", "expected true or false"),
        ("allowed_profiles: [MICRO]", "allowed_profiles: []", "expected some of MICRO, SMALL, MEDIUM, LARGE"),
        ("allowed_profiles: [MICRO]", "allowed_profiles: [MICRO, HUGE]", "LARGE, found HUGE"),
        ("default_profile: MICRO", "default_profile: SMALL", "default_profile: expected one of MICRO"),
        ("min_testnet_trades: 3", "min_testnet_trades: 0", "min_testnet_trades: must be at least 3, found 0"),
        ("require_risk_state: OK", "require_risk_state: CRITICAL", "expected one of OK, WARNING"),
        ("max_account_risk_percent: 2", "max_account_risk_percent: 101", "must be at most 100, found 101"),
    ],
)
def test_a_bad_file_gets_one_line_with_file_line_and_key(tmp_path, old, new, complaint):
    path = write(tmp_path, (old, new))
    with pytest.raises(YamlError) as caught:
        read_config_file(path)
    message = str(caught.value)
    assert complaint in message
    assert message.startswith(f"{path}:")
    assert "\n" not in message


@pytest.mark.parametrize("key", KEYS)
def test_no_key_may_be_missing(tmp_path, key):
    path = write(tmp_path, (f"\n{key}:", f"\nno_{key}:"))
    lines = [line for line in path.read_text().splitlines() if not line.startswith("no_")]
    path.write_text("\n".join(lines))
    with pytest.raises(YamlError, match=f"{key}: missing"):
        read_config_file(path)


def test_production_means_live(tmp_path, settings):
    settings.TRADING_ENVIRONMENT = "live"
    path = write(tmp_path, ("environment: paper", "environment: production"))
    assert read_config_file(path).environment is Environment.LIVE
    with pytest.raises(YamlError, match="means paper, but TRADING_ENVIRONMENT is live"):
        read_config_file()


def test_profiles_come_in_the_order_of_the_ladder(tmp_path):
    path = write(tmp_path, ("allowed_profiles: [MICRO]", "allowed_profiles: [SMALL, MICRO]"))
    assert read_config_file(path).allowed_profiles == ("MICRO", "SMALL")


@pytest.mark.django_db
class TestLoading:
    def test_a_version_is_stored_and_audited_once_and_reads_back_as_it_was(self, tmp_path):
        first, again = load(tmp_path), load(tmp_path)
        assert first.pk == again.pk == get_active_config().pk
        assert values_of(first) == read_config_file()
        assert (first.loaded_by, first.reason) == ("olga", REASON)
        event = AuditEvent.objects.get(action="golive.config_load")
        assert event.subject_id == first.digest
        assert event.payload["detail"]["values"]["max_position_notional"] == "100"
        assert event.payload["detail"]["replaces"] == ""

    def test_the_way_it_is_written_changes_nothing(self, tmp_path):
        assert load(tmp_path).pk == load(tmp_path, ("max_leverage: 2", "max_leverage: 2.00 # twice")).pk

    def test_values_may_come_back_as_a_version_of_their_own(self, tmp_path):
        first, second, third = load(tmp_path), load(tmp_path, TIGHT), load(tmp_path)
        assert len({first.digest, second.digest, third.digest}) == 3
        assert first.body == third.body != second.body
        assert get_active_config().pk == third.pk

    def test_a_version_never_changes(self, tmp_path):
        row = load(tmp_path)
        for change in ("UPDATE golive_goliveconfig SET max_leverage = 20", "DELETE FROM golive_goliveconfig"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(change)
        assert GoLiveConfig.objects.get() == row

    def test_a_refused_load_changes_nothing_and_is_remembered(self, tmp_path):
        make_person("audrey", Role.AUDITOR)
        attempts = [
            (get_actor("audrey"), REASON, "not_designated"),
            (
                Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset({Role.OPERATOR})),
                REASON,
                "not_a_person",
            ),
            (loader(), "why not", "reason_too_short"),
        ]
        for actor, reason, code in attempts:
            with pytest.raises(DomainError) as caught:
                load_config(actor=actor, reason=reason, path=write(tmp_path))
            assert caught.value.code == code
        with pytest.raises(YamlError):
            load(tmp_path, ("max_leverage: 2", "max_leverage: -2"))
        assert get_active_config() is None
        denied = AuditEvent.objects.filter(action="golive.config_load.denied")
        codes = [event.payload["detail"]["code"] for event in denied.order_by("seq")]
        assert codes == ["not_designated", "not_a_person", "reason_too_short", "invalid_file"]

    def test_the_first_start_loads_it_once_and_never_again(self, tmp_path):
        first = ensure_config(actor="system:bootstrap", reason="first start of the desk")
        tight = load(tmp_path, TIGHT)
        assert ensure_config(actor="system:bootstrap", reason="second start of the desk").pk == tight.pk
        assert GoLiveConfig.objects.count() == 2
        assert first.loaded_by == "system:bootstrap"


@pytest.mark.django_db
class TestCeiling:
    def test_a_lower_ceiling_lowers_what_trades_at_once_and_a_higher_one_raises_nothing(self, tmp_path):
        account = rows.make_desk()
        load(tmp_path)
        assert get_active_limits(account).digest == MICRO.digest
        version = models.AccountBook.objects.get(account=account).version
        row = load(tmp_path, TIGHT)
        limits = get_active_limits(account)
        assert limits == with_digest(replace(MICRO, max_position_notional=D(80)))
        assert models.AccountBook.objects.get(account=account).version > version
        event = AuditEvent.objects.get(action="golive.config_load", subject_id=row.digest)
        assert event.payload["detail"]["lowered_permits"] == {"main": limits.digest}
        load(tmp_path)
        assert get_active_limits(account).digest == limits.digest

    def test_a_request_above_it_is_refused_naming_every_key(self, tmp_path):
        config = load(tmp_path)
        with pytest.raises(AboveCeiling) as caught:
            require_within_ceiling(load_profiles()["SMALL"], config)
        for key in ("allowed_profiles", "max_position_size_usd", "max_leverage"):
            assert f"{key}: " in caught.value.message
        assert "max_account_risk_percent" not in caught.value.message
        require_within_ceiling(MICRO, config)

    def test_effective_limits_are_a_set_of_their_own_only_where_the_ceiling_is_lower(self, tmp_path):
        load(tmp_path)
        assert ensure_effective_limits(profile="MICRO", actor="olga", reason=REASON).digest == MICRO.digest
        load(tmp_path, ("max_leverage: 2", "max_leverage: 1.5"))
        row = ensure_effective_limits(profile="MICRO", actor="olga", reason=REASON)
        assert (row.max_leverage, row.profile, row.loaded_by) == (D("1.5"), "MICRO", "system:ceiling")
        with pytest.raises(DomainError, match="profile"):
            ensure_effective_limits(profile="TINY", actor="olga", reason=REASON)

    def test_without_a_loaded_file_nothing_is_activated(self):
        with pytest.raises(ConfigMissing):
            require_config()

    def test_every_key_of_the_desks_state_is_a_condition(self, tmp_path):
        account = rows.make_desk()

        def unmet(config, limits=MICRO):
            found = list_key_conditions(account, limits, config, get_clocks())
            return [item.key for item in found if not item.is_met]

        assert unmet(load(tmp_path)) == []
        assert unmet(get_active_config(), load_profiles()["SMALL"]) == ["allowed_profiles", "ceiling"]
        off = load(tmp_path, OFF)
        assert unmet(off) == ["activation_enabled"]
        with pytest.raises(ActivationDisabled):
            require_enabled(off)
        clocks = get_clocks()
        models.GlobalRisk.objects.create(
            level="WARNING", checked_at=clocks.wall_at, market_at=clocks.market_at
        )
        assert unmet(load(tmp_path)) == ["require_risk_state"]
        assert unmet(load(tmp_path, ("require_risk_state: OK", "require_risk_state: WARNING"))) == []
        TradingState.objects.filter(scope="strategy:trend").update(state="HALTED")
        assert unmet(get_active_config()) == ["require_ess_inactive"]

    def test_a_config_of_another_environment_enables_nothing(self, tmp_path, settings):
        config = load(tmp_path)
        require_enabled(config)
        settings.TRADING_ENVIRONMENT = "demo"
        with pytest.raises(ActivationDisabled, match="demo here"):
            require_enabled(config)


@pytest.mark.django_db(transaction=True)
class TestOverrides:
    """The ceiling is asked when an override is asked and approved, and ends what is above a lower one."""

    @pytest.fixture
    def account(self, tmp_path):
        choose_mode()
        make_person("ann", Role.REQUESTER)
        make_person("bob", Role.APPROVER)
        load(tmp_path, ("max_position_size_usd: 100", "max_position_size_usd: 150"))
        return rows.make_desk()

    def ask(self, account, value, limit="max_position_notional"):
        return overrides.request_override(
            account=account, limit=limit, value=D(value), reason=REASON, actor=get_actor("ann")
        )

    def approve(self, row):
        bob = get_user("bob")
        return vote_on_request(
            request_id=row.pk,
            decision=VoteDecision.APPROVE,
            otp=code_of(bob),
            reason=REASON,
            actor=actor_of_user(bob),
        )

    def test_above_it_none_can_be_asked_and_the_key_is_named(self, account):
        with pytest.raises(overrides.OverrideInvalid, match="max_position_size_usd: 151 is above"):
            self.ask(account, 151)
        with pytest.raises(overrides.OverrideInvalid, match=r"max_account_risk_percent: 2\.1 is above"):
            self.ask(account, "0.021", "max_trade_risk_ratio")
        self.ask(account, 150)

    def test_what_was_asked_below_a_ceiling_that_is_lower_now_cannot_be_approved(self, account, tmp_path):
        row = self.ask(account, 150)
        load(tmp_path, ("max_position_size_usd: 100", "max_position_size_usd: 120"))
        with pytest.raises(overrides.OverrideInvalid, match="max_position_size_usd"):
            self.approve(row)
        assert not models.Override.objects.exists()

    def test_a_lower_ceiling_ends_what_is_raised_above_it(self, account, tmp_path):
        self.approve(self.ask(account, 150))
        self.approve_another(account)
        row = load(tmp_path, ("max_position_size_usd: 100", "max_position_size_usd: 120"))
        standing = list(overrides.list_active_overrides(account))
        assert [item.limit for item in standing] == ["max_positions"]
        event = AuditEvent.objects.get(action="golive.config_load", subject_id=row.digest)
        assert len(event.payload["detail"]["ended_overrides"]) == 1
        assert AuditEvent.objects.filter(action="risk.override_end").count() == 1

    def approve_another(self, account):
        forget_codes()
        self.approve(self.ask(account, 3, "max_positions"))


@pytest.mark.django_db
class TestEnabling:
    def test_switching_off_lets_activated_accounts_only_reduce_from_that_commit_on(self, tmp_path):
        live, paper = rows.make_desk(), rows.make_desk(name="other")
        activate(live, load(tmp_path))
        waiting = rows.ask(live)
        assert judge_intent(intent_id=waiting.pk, clocks=get_clocks()).allowed
        load(tmp_path, OFF)
        states = dict(TradingState.objects.values_list("scope", "state"))
        assert (states["account:main"], states["account:other"]) == ("REDUCING", "ACTIVE")
        waiting.refresh_from_db()
        assert waiting.state == "lapsed"
        row = models.Restriction.objects.get(cause="not_enabled")
        assert (row.scope, row.needs_acknowledgement) == ("account:main", False)
        load(tmp_path)
        assert TradingState.objects.get(scope="account:main").state == "ACTIVE"
        assert Permit.objects.get(account=paper).kind == "PAPER"

    def test_what_else_holds_the_account_goes_on_holding_it(self, tmp_path):
        account = rows.make_desk()
        activate(account, load(tmp_path))
        models.Restriction.objects.create(
            scope="account:main", cause="daily_loss", reason="lost", market_at=get_clocks().market_at
        )
        load(tmp_path, OFF)
        load(tmp_path)
        assert TradingState.objects.get(scope="account:main").state == "REDUCING"


@pytest.mark.django_db
def test_a_lowered_set_is_stored_once(tmp_path):
    rows.make_desk()
    load(tmp_path, TIGHT)
    lowered = with_digest(replace(MICRO, max_position_notional=D(80)))
    again = store_limit_set(limits=lowered, actor="olga", reason=REASON)
    assert again.loaded_by == "system:ceiling"
    assert get_clocks().wall_at - again.loaded_at < timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
def test_loads_at_the_same_time_come_one_after_the_other(tmp_path):
    actor = loader()
    paths = []
    for number in range(1, 9):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths.append(write(folder, ("max_leverage: 2", f"max_leverage: {number}")))

    def run(path):
        try:
            return load_config(actor=actor, reason=REASON, path=path).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(paths)) as pool:
        made = list(pool.map(run, paths))
    rows_made = list(GoLiveConfig.objects.order_by("pk"))
    assert sorted(made) == [row.pk for row in rows_made]
    events = {
        event.subject_id: event.payload["detail"]["replaces"]
        for event in AuditEvent.objects.filter(action="golive.config_load")
    }
    digests = [row.digest for row in rows_made]
    assert [events[digest] for digest in digests] == ["", *digests[:-1]]
