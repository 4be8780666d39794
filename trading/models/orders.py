"""Intents, the orders they became, and the history of each order."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from trading.core.values import IntentState, OrderPurpose, OrderState, OrderType, Side, TimeInForce
from trading.models.accounts import Account, VenueAccount
from trading.models.fields import Money, choices


class OrderIntent(models.Model):
    """A request before judgement, and what became of it.

    Committed with its client order id before anything leaves (law 4). `valid_until` is wall time.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="intents")
    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="intents")
    strategy = models.SlugField(max_length=40)
    symbol = models.CharField(max_length=20)
    side = models.CharField(max_length=4, choices=choices(Side))
    order_type = models.CharField(max_length=20, choices=choices(OrderType))
    time_in_force = models.CharField(max_length=10, choices=choices(TimeInForce), default=TimeInForce.GTC)
    purpose = models.CharField(max_length=12, choices=choices(OrderPurpose))
    quantity = Money()
    price = Money(null=True)
    stop_loss = Money(null=True)
    take_profit = Money(null=True)
    reduce_only = models.BooleanField()
    signal_at = models.DateTimeField()
    client_ref = models.CharField(max_length=64)
    body_digest = models.CharField(max_length=64)
    source = models.CharField(max_length=40)
    # False asks for a judgement only: such an intent is never sent.
    execute = models.BooleanField(default=True)
    # Whether a smaller quantity will do; `quantity` is then what was allowed of `requested_quantity`.
    may_resize = models.BooleanField(default=False)
    requested_quantity = Money(null=True)
    state = models.CharField(max_length=10, choices=choices(IntentState), default=IntentState.PROPOSED)
    version = models.BigIntegerField(default=1)
    decision_id = models.BigIntegerField(null=True, unique=True)
    fencing_token = models.BigIntegerField(null=True)
    limit_set_digest = models.CharField(max_length=64, blank=True)
    valid_until = models.DateTimeField(null=True)
    market_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="intent_client_ref_once", fields=("account", "client_ref")),
            models.CheckConstraint(name="intent_quantity_positive", condition=Q(quantity__gt=0)),
            models.CheckConstraint(
                name="intent_approved_has_decision",
                condition=~Q(state__in=["approved", "dispatched"]) | Q(decision_id__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                name="intent_open",
                fields=("account", "state"),
                condition=Q(state__in=["proposed", "approved", "dispatched"]),
            ),
            models.Index(name="intent_recent", fields=("-created_at",)),
        )

    def __str__(self) -> str:
        return f"{self.purpose} {self.side} {self.quantity} {self.symbol}"


class Order(models.Model):
    """An order that reached the door; committed as SENDING before the request leaves."""

    intent = models.ForeignKey(OrderIntent, on_delete=models.PROTECT, related_name="orders")
    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="orders")
    symbol = models.CharField(max_length=20)
    client_order_id = models.CharField(max_length=32, unique=True)
    venue_order_id = models.CharField(max_length=40, blank=True)
    executed_by = models.CharField(max_length=40, blank=True)
    purpose = models.CharField(max_length=12, choices=choices(OrderPurpose))
    side = models.CharField(max_length=4, choices=choices(Side))
    order_type = models.CharField(max_length=20, choices=choices(OrderType))
    time_in_force = models.CharField(max_length=10, choices=choices(TimeInForce), default=TimeInForce.GTC)
    quantity = Money(null=True)
    price = Money(null=True)
    trigger_price = Money(null=True)
    reduce_only = models.BooleanField()
    close_position = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=choices(OrderState), default=OrderState.SENDING)
    version = models.BigIntegerField(default=1)
    filled_quantity = Money(default=0)
    average_price = Money(null=True)
    venue_code = models.CharField(max_length=20, blank=True)
    lookups = models.PositiveSmallIntegerField(default=0)
    market_at = models.DateTimeField()
    sent_at = models.DateTimeField(db_default=Now())
    verified_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="order_only_entries_add_risk",
                condition=Q(purpose="entry") | Q(reduce_only=True) | Q(close_position=True),
            ),
            models.CheckConstraint(name="order_filled_not_negative", condition=Q(filled_quantity__gte=0)),
        )
        indexes = (
            models.Index(
                name="order_unsettled",
                fields=("venue_account", "symbol"),
                condition=Q(state__in=["sending", "unknown", "open"]),
            ),
            models.Index(name="order_venue_id", fields=("venue_account", "venue_order_id")),
            models.Index(
                name="order_executed_by",
                fields=("venue_account", "executed_by"),
                condition=Q(executed_by__gt=""),
            ),
        )

    def __str__(self) -> str:
        return f"{self.client_order_id} {self.state}"


class OrderEvent(models.Model):
    """Append-only history of an order's states."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    state = models.CharField(max_length=12, choices=choices(OrderState))
    venue_code = models.CharField(max_length=20, blank=True)
    detail = models.TextField(blank=True)
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.state} at {self.at}"


class MessageSlot(models.Model):
    """Requests (submits, modifies, cancels) sent to a venue in one second of wall time.

    Sixty rows an account and venue, written over and over: slot = second of the minute. A row whose
    `second_at` is more than 59 s ago counts for nothing. Writer: the door.
    """

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="message_slots")
    slot = models.PositiveSmallIntegerField()
    second_at = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(name="messageslot_once", fields=("venue_account", "slot")),)

    def __str__(self) -> str:
        return f"{self.count} at {self.second_at}"
