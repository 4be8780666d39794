"""Fills that nobody asked for: what a venue closes by itself, told by the client id that it gives.

Source: Binance USD-M futures, "New order" and "User data streams: order update": `autoclose-` is a
liquidation, `adl_autoclose` auto-deleveraging, `settlement_autoclose-` a delisting or delivery.
"""

from enum import StrEnum


class ForcedKind(StrEnum):
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"


PREFIXES = {
    "autoclose-": ForcedKind.LIQUIDATION,
    "adl_autoclose": ForcedKind.ADL,
    "settlement_autoclose": ForcedKind.SETTLEMENT,
    "delivery_autoclose": ForcedKind.SETTLEMENT,
}


def read_forced_kind(client_order_id: str) -> ForcedKind | None:
    """What the venue did, None for an order of a person or a program."""
    for prefix, kind in PREFIXES.items():
        if client_order_id.startswith(prefix):
            return kind
    return None
