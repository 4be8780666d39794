"""profiles and explain_decision, as a person and as a machine read them."""

import json
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from risk import models
from risk.judgement import judge_intent
from tests.factories import UserFactory
from tests.risk import desk
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_profiles_are_listed_with_what_can_bind_and_who_trades_them():
    desk.make_desk()

    micro, small, *_ = json.loads(run("profiles", "list", "--json"))["profiles"]

    assert (micro["profile"], micro["is_loaded"], micro["accounts"]) == ("MICRO", True, ["main"])
    assert (small["is_loaded"], small["accounts"]) == (False, [])
    assert micro["limits"]["max_position_notional"] == "100"
    assert micro["limits"]["max_price_age"] == "60"
    assert micro["binding"][0] == {
        "limit": "max position",
        "one_position_usd": "100",
        "all_positions_usd": "200",
    }
    assert "MICRO" in run("profiles", "list")


def test_profiles_are_loaded_by_a_designated_person_with_a_reason():
    UserFactory(username="olga", roles=(Role.OPERATOR,))
    UserFactory(username="axel", roles=(Role.AUDITOR,))
    with pytest.raises(CommandError, match="not_designated"):
        run("profiles", "load", "--actor", "axel", "--reason", "new ladder")
    assert not models.LimitSet.objects.exists()

    run("profiles", "load", "--actor", "olga", "--reason", "new ladder")

    assert models.LimitSet.objects.count() == 4
    assert {event.actor for event in AuditEvent.objects.filter(action="risk.limits_load")} == {"olga"}
    assert AuditEvent.objects.get(action="risk.exposure_load").actor == "olga"
    answer = json.loads(run("profiles", "list", "--json"))
    assert answer["exposure"]["is_loaded"] is True
    assert answer["exposure"]["defaults"].keys() == {"venue", "strategy", "symbol"}
    assert answer["profiles"][3]["can_bind"][0] == "net exposure"
    assert "net exposure" in run("profiles", "list")


def test_a_bad_exposure_file_changes_nothing(tmp_path):
    UserFactory(username="olga", roles=(Role.OPERATOR,))
    path = tmp_path / "exposure.yaml"
    path.write_text("firm_usd: 1\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"invalid_file: .*exposure\.yaml:1: venue_usd: missing"):
        run("profiles", "load", "--exposure", str(path), "--actor", "olga", "--reason", "new ladder")
    assert not models.LimitSet.objects.exists()
    assert not models.ExposureLimits.objects.exists()


def test_a_bad_profiles_file_changes_nothing_and_is_one_line(tmp_path):
    UserFactory(username="olga", roles=(Role.OPERATOR,))
    path = tmp_path / "profiles.yaml"
    path.write_text("profiles: {}\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"invalid_file: .*profiles\.yaml:1: common: missing"):
        run("profiles", "load", "--file", str(path), "--actor", "olga", "--reason", "new ladder")
    assert not models.LimitSet.objects.exists()


def test_a_decision_is_explained():
    account = desk.make_desk()
    decision = judge_intent(intent_id=desk.ask(account, quantity=D(1)).pk, clocks=get_clocks())

    answer = json.loads(run("explain_decision", str(decision.pk), "--json"))
    assert (answer["decision"], answer["reason"], answer["max_quantity"]) == (
        "blocked",
        "ORDER_NOTIONAL",
        "0.66",
    )
    assert (answer["agrees"], answer["is_same_code"]) == (True, True)
    assert answer["outcomes"]["permits_order_notional"] == "ORDER_NOTIONAL"
    assert answer["ages"]["price"].endswith(" s")
    text = run("explain_decision", str(decision.pk))
    assert "ORDER_NOTIONAL: measured 150, limit 100" in text
    assert "decided again by the same code: the same answer" in text


def test_explaining_what_does_not_exist_is_refused():
    with pytest.raises(CommandError, match="decision_not_found"):
        run("explain_decision", "1")


def test_a_decision_that_this_code_would_not_make_is_reported():
    account = desk.make_desk()
    first = judge_intent(intent_id=desk.ask(account).pk, clocks=get_clocks())
    inputs = first.inputs.replace('"mark":"150', '"mark":"290')
    second = desk.ask(account, execute=False)
    models.Decision.objects.create(
        intent=second,
        account=account,
        allowed=True,
        reason="none",
        breaches="[]",
        outcomes=first.outcomes,
        inputs=inputs,
        max_quantity=first.max_quantity,
        requested_quantity=first.requested_quantity,
        quantity=first.quantity,
        account_version=1,
        limit_set_digest=first.limit_set_digest,
        code_version=first.code_version,
        market_at=first.market_at,
    )
    with pytest.raises(CommandError, match="decides otherwise"):
        run("explain_decision", str(models.Decision.objects.latest("pk").pk))
