"""Every fact can be read here and none can be edited."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import DecimalField, Model
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from controlplane.audit.admin import ReadOnlyAdmin
from controlplane.audit.pages import Lead
from controlplane.wire import money_text
from trading import models


def money(field: str, description: str | None = None) -> Any:
    """A column that shows money or a quantity without its trailing zeros."""

    @admin.display(description=description or field.replace("_", " "), ordering=field)
    def column(row: Model) -> str | None:
        value: Decimal | None = getattr(row, field)
        return None if value is None else money_text(value)

    return column


class FactAdmin(ReadOnlyAdmin):
    """Pages of one kind of fact, whose numbers have no trailing zeros either."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        fields = self.model._meta.get_fields()
        self._columns = {field.name: money(field.name) for field in fields if isinstance(field, DecimalField)}

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        names = [field for field in super().get_fields(request, obj) if isinstance(field, str)]
        return [self._columns.get(name, name) for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *self._columns.values()]


STATE_LABELS = {
    "ACTIVE": "success",
    "REDUCING": "warning",
    "HALTED": "danger",
    "filled": "success",
    "open": "info",
    "sending": "warning",
    "unknown": "danger",
    "rejected": "danger",
    "never_placed": "danger",
    "approved": "success",
    "dispatched": "success",
    "done": "success",
    "denied": "danger",
    "lapsed": "warning",
    "proposed": "info",
    "running": "info",
    "failed": "danger",
}


class StateAdmin(FactAdmin):
    """A page of rows that have a state, shown in its colour."""

    @display(description="state", label=STATE_LABELS, ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, row: Any) -> str:
        return str(row.state)


@admin.register(models.Account)
class AccountAdmin(FactAdmin):
    list_display = ("name", "environment", "created_at")
    ordering = ("name",)


@admin.register(models.VenueAccount)
class VenueAccountAdmin(FactAdmin):
    list_display = ("account", "venue", "priority", "created_at")
    list_select_related = ("account",)
    list_filter = ("account",)
    ordering = ("account__name", "priority")


@admin.register(models.StrategyAssignment)
class StrategyAssignmentAdmin(FactAdmin):
    list_display = ("account", "strategy", "symbols", "enabled")
    list_select_related = ("account",)
    list_filter = ("account",)
    ordering = ("account__name", "strategy")


@admin.register(models.Permit)
class PermitAdmin(FactAdmin):
    list_display = (
        "account",
        "kind",
        "profile",
        "active",
        "lease_expires_at",
        "fencing_token",
        "created_at",
        "ended_at",
        "end_reason",
    )
    list_select_related = ("account",)
    list_filter = ("account", "active", "kind")
    ordering = ("-id",)


@admin.register(models.TradingState)
class TradingStateAdmin(StateAdmin):
    list_display = ("scope", "shown_state", "reason", "source", "changed_at", "version")
    list_filter = ("state",)
    search_fields = ("scope__startswith",)
    ordering = ("scope",)


@admin.register(models.OrderIntent)
class OrderIntentAdmin(StateAdmin):
    list_display = (
        "created_at",
        "shown_state",
        "purpose",
        "symbol",
        "side",
        money("quantity"),
        "strategy",
        "source",
        "client_ref",
        "decision_id",
    )
    list_filter = ("account", "state", "purpose")
    search_fields = ("client_ref__exact", "decision_id__exact")
    search_help_text = "Client reference or decision id, exactly"
    list_select_related = ("account", "venue_account__account")
    ordering = ("-created_at",)


class OrderEventInline(TabularInline):  # type: ignore[misc]
    model = models.OrderEvent
    fields = readonly_fields = ("at", "market_at", "state", "venue_code", "detail")
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, *_: Any) -> bool:
        return False


@admin.register(models.Order)
class OrderAdmin(StateAdmin):
    list_display = (
        "sent_at",
        "shown_state",
        "purpose",
        "symbol",
        "side",
        "order_type",
        money("quantity"),
        money("trigger_price", "trigger"),
        money("filled_quantity", "filled"),
        money("average_price", "average"),
        "client_order_id",
        "verified_at",
    )
    list_filter = ("venue_account", "state", "purpose")
    search_fields = ("client_order_id", "venue_order_id")
    search_leads: ClassVar[Mapping[str, Lead]] = {"venue_order_id": ("venue_account", models.VenueAccount)}
    search_help_text = "Client or venue order id, exactly"
    list_select_related = ("venue_account__account",)
    ordering = ("-id",)
    inlines = (OrderEventInline,)


@admin.register(models.OrderEvent)
class OrderEventAdmin(StateAdmin):
    list_display = ("at", "order", "shown_state", "venue_code", "detail", "market_at")
    list_select_related = ("order",)
    search_fields = ("order__client_order_id",)
    ordering = ("-id",)


@admin.register(models.Fill)
class FillAdmin(FactAdmin):
    list_display = (
        "market_at",
        "symbol",
        "side",
        money("quantity"),
        money("price"),
        money("fee"),
        money("realised_pnl"),
        "is_maker",
        "order",
        "venue_fill_id",
    )
    list_filter = ("venue_account",)
    search_fields = ("order__client_order_id", "order__venue_order_id")
    search_leads: ClassVar[Mapping[str, Lead]] = {
        "order__venue_order_id": ("order__venue_account", models.VenueAccount)
    }
    search_help_text = "The order's client or venue id, exactly"
    list_select_related = ("order",)
    ordering = ("-id",)


@admin.register(models.Income)
class IncomeAdmin(FactAdmin):
    list_display = ("market_at", "kind", "symbol", money("amount"), "venue_account", "venue_income_id")
    list_filter = ("venue_account",)
    list_select_related = ("venue_account__account",)
    ordering = ("-id",)


@admin.register(models.Position)
class PositionAdmin(FactAdmin):
    list_display = (
        "symbol",
        "venue_account",
        money("quantity"),
        money("entry_price"),
        "strategy",
        "unprotected_since",
        "opened_at",
        "updated_at",
    )
    list_filter = ("venue_account", ("unprotected_since", admin.EmptyFieldListFilter))
    list_select_related = ("venue_account__account",)
    ordering = ("symbol",)


@admin.register(models.Trade)
class TradeAdmin(FactAdmin):
    list_display = (
        "opened_at",
        "closed_at",
        "strategy",
        "symbol",
        "side",
        money("max_quantity", "quantity"),
        money("entry_price", "entry"),
        money("exit_price", "exit"),
        money("net_pnl", "net PnL"),
        money("fees"),
        "closed_by",
        "stop_verified_at",
    )
    list_filter = ("venue_account", ("closed_at", admin.EmptyFieldListFilter))
    ordering = ("-id",)


@admin.register(models.EquitySample)
class EquitySampleAdmin(FactAdmin):
    list_display = (
        "market_at",
        "venue_account",
        money("equity"),
        money("own_equity"),
        money("wallet"),
        money("available"),
        money("initial_margin"),
    )
    list_filter = ("venue_account",)
    list_select_related = ("venue_account__account",)
    ordering = ("-id",)


@admin.register(models.ReconciliationRun)
class ReconciliationRunAdmin(FactAdmin):
    list_display = ("finished_at", "venue_account", "is_clean", "adopted_fills", "differences", "market_at")
    list_filter = ("venue_account", "is_clean")
    list_select_related = ("venue_account__account",)
    ordering = ("-id",)


@admin.register(models.CycleRun)
class CycleRunAdmin(StateAdmin):
    list_display = ("bar_at", "account", "shown_state", "detail", "started_at", "finished_at")
    list_filter = ("account", "state")
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(models.Heartbeat)
class HeartbeatAdmin(FactAdmin):
    list_display = ("name", "beat_at", "detail")
    ordering = ("name",)


@admin.register(models.MarketClock)
class MarketClockAdmin(FactAdmin):
    list_display = ("anchor_at", "speed", "paused", "started_at", "seen_at", "candle_set")


@admin.register(models.Instrument)
class InstrumentAdmin(FactAdmin):
    list_display = (
        "symbol",
        "venue",
        "is_trading",
        money("tick_size", "tick"),
        money("lot_size", "lot"),
        money("min_notional"),
        "delists_at",
        "read_at",
    )
    list_filter = ("venue", "is_trading")
    search_fields = ("symbol__startswith",)
    ordering = ("venue", "symbol")


@admin.register(models.MarketPrice)
class MarketPriceAdmin(FactAdmin):
    list_display = (
        "symbol",
        "venue",
        money("mark"),
        money("last"),
        money("index"),
        money("bid"),
        money("ask"),
        money("reference"),
        "at",
    )
    list_filter = ("venue",)
    ordering = ("venue", "symbol")


@admin.register(models.VenueSetting)
class VenueSettingAdmin(FactAdmin):
    list_display = (
        "symbol",
        "venue_account",
        "leverage",
        "margin_mode",
        money("max_stop_ratio"),
        "is_one_way",
        "is_single_asset",
        "read_at",
    )
    list_filter = ("venue_account",)
    list_select_related = ("venue_account__account",)
    ordering = ("symbol",)


@admin.register(models.Candle)
class CandleAdmin(FactAdmin):
    list_display = (
        "symbol",
        "venue",
        "interval",
        "open_at",
        money("open"),
        money("high"),
        money("low"),
        money("close"),
        money("volume"),
    )
    list_filter = ("venue", "interval")
    search_fields = ("symbol__startswith",)
    show_full_result_count = False
    ordering = ("-open_at", "symbol")


@admin.register(models.MessageSlot)
class MessageSlotAdmin(FactAdmin):
    list_display = ("venue_account", "slot", "second_at", "count")
    list_filter = ("venue_account",)
    list_select_related = ("venue_account__account",)
    ordering = ("-second_at",)
