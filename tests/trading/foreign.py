"""What somebody else does on the desk's account at the venue."""

from typing import Any

from trading.simulator.venue import SimulatedVenue


def trade_by_hand(venue: SimulatedVenue, symbol: str, side: str, quantity: str, **fields: Any) -> Any:
    """An order that the desk knows nothing of."""
    order = {
        "symbol": symbol,
        "side": side,
        "type": "MARKET",
        "quantity": quantity,
        "reduce_only": False,
        "client_id": f"hand{venue.engine.state.last_id}",
        "position_side": "BOTH",
    }
    return venue.execute("place_order", **(order | fields))
