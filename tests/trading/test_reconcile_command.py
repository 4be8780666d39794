"""`manage.py reconcile`."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.trading.foreign import trade_by_hand


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("reconcile", *arguments, stdout=out)
    return out.getvalue()


def test_a_clean_book_exits_with_zero(desk: Any) -> None:
    assert call() == "paper-main@binanceusdm: clean\n"
    (row,) = json.loads(call("--json", "--account", "paper-main"))
    assert row == {
        "account": "paper-main",
        "venue": "binanceusdm",
        "is_clean": True,
        "adopted_fills": 0,
        "differences": [],
    }


def test_a_difference_is_shown_and_exits_with_one(desk: Any) -> None:
    call()
    trade_by_hand(desk.venue, "ETHUSDT", "BUY", "0.02")
    out = StringIO()
    with pytest.raises(CommandError) as refusal:
        call_command("reconcile", stdout=out)
    assert refusal.value.returncode == 1
    assert "foreign_fill ETHUSDT: ours not ours" in out.getvalue()


def test_an_unknown_account_is_one_clear_line(desk: Any) -> None:
    with pytest.raises(CommandError, match="account_not_found: account: no account named 'nobody'"):
        call("--account", "nobody")


def test_a_venue_that_does_not_answer_is_no_clean_book(desk: Any) -> None:
    desk.fault("error_before", path="/fapi/*", status=503, times=99)
    with pytest.raises(CommandError) as refusal:
        call()
    assert refusal.value.returncode == 1
    assert "venue_unavailable" in str(refusal.value)
