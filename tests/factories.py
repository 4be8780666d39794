"""Facts for tests, made whole: an account with everything in order, so that a test breaks one thing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.utils import timezone

from controlplane.approvals import models as approvals
from controlplane.approvals.core import Role, TokenScope, hash_token
from controlplane.approvals.services import ensure_viewers
from risk import models as risk
from risk.allotments import divide_exposure
from risk.exposure import ensure_exposure
from risk.registration import ensure_activities, ensure_limit_set
from trading import models

PASSWORD = "correct horse battery staple"
MARKET_AT = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)


@cache
def hashed_password() -> str:
    """Made as the desk does, whatever a test sets; hashing is slow on purpose, so once a process."""
    return PBKDF2PasswordHasher().encode(PASSWORD, "salt-of-the-tests")


class UserFactory(factory.django.DjangoModelFactory):
    """A person who may sign in and view; `roles` are designated to them."""

    class Meta:
        model = get_user_model()
        django_get_or_create = ("username",)
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    is_staff = True

    @classmethod
    def _create(cls, model_class, *args, roles=(), **values):
        user = model_class.objects.create(password=hashed_password(), **values)
        user.groups.add(ensure_viewers())
        for role in roles:
            DesignationFactory(user=user, role=Role(role).value)
        return user


class DesignationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = approvals.Designation

    user = factory.SubFactory(UserFactory)
    role = Role.OPERATOR.value
    designated_by = "system:test"


class ApiTokenFactory(factory.django.DjangoModelFactory):
    """A token with every scope; its value is `raw` (the default is its name)."""

    class Meta:
        model = approvals.ApiToken
        exclude = ("raw",)

    name = factory.Sequence(lambda n: f"token{n}")
    raw = factory.LazyAttribute(lambda o: o.name)
    user = factory.SubFactory(UserFactory, roles=(Role.REQUESTER, Role.OPERATOR))
    token_sha256 = factory.LazyAttribute(lambda o: hash_token(o.raw))
    scopes = [scope.value for scope in TokenScope]


class SecondFactorFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = approvals.SecondFactor

    user = factory.SubFactory(UserFactory)
    totp_secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class AccountFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Account
        django_get_or_create = ("name",)

    name = "paper-main"
    environment = "paper"


class VenueAccountFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.VenueAccount
        django_get_or_create = ("account", "venue")

    account = factory.SubFactory(AccountFactory)
    venue = "binanceusdm"
    priority = 0


class AssignmentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.StrategyAssignment

    account = factory.SubFactory(AccountFactory)
    strategy = "trend"
    symbols = ["BTCUSDT", "ETHUSDT"]


class PermitFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Permit

    account = factory.SubFactory(AccountFactory)
    kind = "PAPER"
    environment = "paper"
    profile = "MICRO"
    limit_set_digest = "0" * 64
    fencing_token = factory.Sequence(lambda n: n + 1)
    active = True
    lease_expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(minutes=10))


class TradingStateFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.TradingState
        django_get_or_create = ("scope",)

    scope = "all"
    state = "ACTIVE"
    reason = "registered"
    source = "registration"


class PriceFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.MarketPrice

    venue = "binanceusdm"
    symbol = "ETHUSDT"
    mark = last = index = Decimal("2500")
    bid = Decimal("2499.9")
    ask = Decimal("2500.1")
    bid_quantity = ask_quantity = Decimal(1_000_000)
    reference = factory.SelfAttribute("mark")
    funding_rate = Decimal("0.0001")
    funding_at = factory.LazyAttribute(lambda o: o.at + timedelta(hours=4))
    at = factory.LazyFunction(timezone.now)
    read_at = factory.LazyFunction(timezone.now)


class IntentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.OrderIntent

    venue_account = factory.SubFactory(VenueAccountFactory)
    account = factory.SelfAttribute("venue_account.account")
    strategy = "trend"
    symbol = "ETHUSDT"
    side = "buy"
    order_type = "market"
    purpose = "entry"
    quantity = Decimal("0.03")
    stop_loss = Decimal("2430")
    take_profit = Decimal("2620")
    reduce_only = False
    signal_at = MARKET_AT
    market_at = MARKET_AT
    client_ref = factory.Sequence(lambda n: f"ref{n}")
    body_digest = "0" * 64
    source = "strategy"


class OrderFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Order

    intent = factory.SubFactory(IntentFactory)
    venue_account = factory.SelfAttribute("intent.venue_account")
    symbol = factory.SelfAttribute("intent.symbol")
    client_order_id = factory.Sequence(lambda n: f"cp{n}")
    purpose = "entry"
    side = "buy"
    order_type = "market"
    quantity = Decimal("0.03")
    reduce_only = False
    state = "filled"
    filled_quantity = Decimal("0.03")
    average_price = Decimal("2490")
    market_at = MARKET_AT


class StopOrderFactory(OrderFactory):
    """The stop-loss resting at the venue, read back there."""

    purpose = "stop_loss"
    side = "sell"
    order_type = "stop_market"
    quantity = None
    trigger_price = Decimal("2430")
    close_position = True
    state = "open"
    filled_quantity = Decimal(0)
    average_price = None
    verified_at = factory.LazyFunction(timezone.now)


class TargetOrderFactory(StopOrderFactory):
    purpose = "take_profit"
    order_type = "take_profit_market"
    quantity = Decimal("0.03")
    trigger_price = Decimal("2620")
    close_position = False
    reduce_only = True


class TradeFactory(factory.django.DjangoModelFactory):
    """A closed round trip that won a little."""

    class Meta:
        model = models.Trade

    venue_account = factory.SubFactory(VenueAccountFactory)
    strategy = "trend"
    symbol = "ETHUSDT"
    side = "buy"
    max_quantity = entry_quantity = Decimal("0.03")
    entry_price = Decimal("2490")
    exit_price = Decimal("2510")
    gross_pnl = Decimal("0.6")
    fees = Decimal("0.06")
    net_pnl = Decimal("0.54")
    closed_by = "exit"
    opened_at = MARKET_AT
    closed_at = MARKET_AT + timedelta(hours=1)


class PositionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Position

    venue_account = factory.SubFactory(VenueAccountFactory)
    symbol = "ETHUSDT"
    strategy = "trend"
    quantity = Decimal("0.03")
    entry_price = Decimal("2490")
    opened_at = MARKET_AT


class EquityFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.EquitySample

    venue_account = factory.SubFactory(VenueAccountFactory)
    wallet = equity = own_equity = available = Decimal("1100")
    initial_margin = maintenance_margin = Decimal(0)
    market_at = factory.Sequence(lambda n: MARKET_AT + timedelta(seconds=n))


class ReconciliationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.ReconciliationRun

    venue_account = factory.SubFactory(VenueAccountFactory)
    is_clean = True
    market_at = MARKET_AT
    started_at = factory.LazyFunction(timezone.now)


class HeartbeatFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Heartbeat
        django_get_or_create = ("name",)

    name = "worker"
    beat_at = factory.LazyFunction(timezone.now)


class InstrumentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Instrument

    venue = "binanceusdm"
    symbol = "XRPUSDT"
    base = factory.LazyAttribute(lambda o: o.symbol.removesuffix("USDT"))
    is_trading = True
    tick_size = Decimal("0.0001")
    lot_size = min_quantity = Decimal("0.1")
    max_quantity = max_market_quantity = Decimal("1000000")
    min_notional = Decimal(5)
    min_price = Decimal("0.0001")
    max_price = Decimal("100000")
    delists_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=30_000))
    max_conditional_orders = 10
    read_at = factory.LazyFunction(timezone.now)


class VenueSettingFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.VenueSetting

    venue_account = factory.SubFactory(VenueAccountFactory)
    symbol = "XRPUSDT"
    leverage = 2
    margin_mode = "isolated"
    max_stop_ratio = Decimal("0.245")
    is_one_way = is_single_asset = True
    read_at = factory.LazyFunction(timezone.now)


class GlobalRiskFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = risk.GlobalRisk

    level = "OK"
    market_at = factory.LazyFunction(timezone.now)


def make_tradable(place: models.VenueAccount, symbol: str, price: str, strategy: str) -> None:
    """Whatever an entry in the symbol needs: allow-list, state, filters, leverage, fresh price."""
    AssignmentFactory(account=place.account, strategy=strategy, symbols=[symbol])
    TradingStateFactory(scope=f"strategy:{strategy}")
    TradingStateFactory(scope=f"symbol:{symbol}")
    InstrumentFactory(venue=place.venue, symbol=symbol)
    VenueSettingFactory(venue_account=place, symbol=symbol)
    mark = Decimal(price)
    PriceFactory(venue=place.venue, symbol=symbol, mark=mark, last=mark, index=mark, bid=mark, ask=mark)


def make_desk() -> models.VenueAccount:
    """A desk in good order: permit, states, one protected position, equity, prices, heartbeats.

    The strategy `reversion` may enter XRPUSDT at 2.00.
    """
    place = VenueAccountFactory()
    AssignmentFactory(account=place.account)
    limits = ensure_limit_set(profile="MICRO", actor="system:test")
    PermitFactory(account=place.account, limit_set_digest=limits.digest)
    risk.AccountBook.objects.create(account=place.account)
    GlobalRiskFactory()
    EquityFactory(venue_account=place, market_at=timezone.now())
    make_tradable(place, "XRPUSDT", "2", "reversion")
    for scope in ("all", f"account:{place.account.name}", f"venue:{place.venue}", "strategy:trend"):
        TradingStateFactory(scope=scope)
    for symbol, price in (("BTCUSDT", "105000"), ("ETHUSDT", "2500")):
        TradingStateFactory(scope=f"symbol:{symbol}")
        PriceFactory(venue=place.venue, symbol=symbol, mark=Decimal(price), last=Decimal(price))
    entry = OrderFactory(intent__venue_account=place)
    PositionFactory(venue_account=place, entry_intent=entry.intent)
    StopOrderFactory(intent=entry.intent)
    TargetOrderFactory(intent=entry.intent)
    ReconciliationFactory(venue_account=place)
    ensure_activities(place.account)
    ensure_exposure(actor="system:test")
    divide_exposure()
    for name in (
        "worker",
        "beat",
        "guard:sweep",
        "guard:triggers",
        "guard:recovery",
        "guard:leases",
        "guard:risk",
    ):
        HeartbeatFactory(name=name)
    return place


class DecisionFactory(factory.django.DjangoModelFactory):
    """The stored decision that allows an intent; its id is the one that the intent names."""

    class Meta:
        model = "risk.Decision"

    intent = factory.SubFactory(IntentFactory)
    id = factory.LazyAttribute(lambda row: row.intent.decision_id)
    account = factory.SelfAttribute("intent.account")
    allowed = True
    reason = "none"
    breaches = outcomes = "[]"
    inputs = "{}"
    max_quantity = requested_quantity = quantity = factory.SelfAttribute("intent.quantity")
    account_version = 1
    limit_set_digest = factory.SelfAttribute("intent.limit_set_digest")
    code_version = "0" * 64
    market_at = factory.SelfAttribute("intent.market_at")
