"""Whose order it was, by the client id that the venue gave it."""

import pytest

from trading.core.forced import ForcedKind, read_forced_kind


@pytest.mark.parametrize(
    ("client_id", "kind"),
    [
        ("autoclose-1700000000000ETHUSDT", ForcedKind.LIQUIDATION),
        ("adl_autoclose", ForcedKind.ADL),
        ("settlement_autoclose-17", ForcedKind.SETTLEMENT),
        ("delivery_autoclose-17", ForcedKind.SETTLEMENT),
        ("web_2hCdF", None),
        ("my-autoclose-1", None),
        ("", None),
    ],
)
def test_the_venues_own_orders_are_told_by_their_names(client_id, kind):
    assert read_forced_kind(client_id) is kind
