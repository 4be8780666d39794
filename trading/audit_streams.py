"""The tables of facts that are sealed into the audit chain."""

from controlplane.audit.streams import Stream

STREAMS = (
    Stream(
        name="order_events",
        table="trading_orderevent",
        columns=("id", "order_id", "state", "venue_code", "detail", "market_at", "at"),
    ),
    Stream(
        name="fills",
        table="trading_fill",
        columns=(
            "id",
            "venue_account_id",
            "order_id",
            "symbol",
            "venue_fill_id",
            "venue_order_id",
            "side",
            "quantity",
            "price",
            "fee",
            "fee_asset",
            "realised_pnl",
            "is_maker",
            "market_at",
            "at",
        ),
    ),
    Stream(
        name="income",
        table="trading_income",
        columns=("id", "venue_account_id", "venue_income_id", "kind", "symbol", "amount", "market_at", "at"),
    ),
    Stream(
        name="equity",
        table="trading_equitysample",
        columns=(
            "id",
            "venue_account_id",
            "wallet",
            "equity",
            "available",
            "initial_margin",
            "maintenance_margin",
            "own_equity",
            "net_flow",
            "market_at",
            "at",
        ),
    ),
)

GUARDS = (
    ("trading_permit", "trading_permit_facts"),
    ("trading_permit", "trading_permit_stays"),
    ("trading_permit", "append_only_truncate"),
)
