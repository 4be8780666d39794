"""The operator's screens in a real browser: live facts, the red button, no errors, nothing from outside."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from risk.models import StopEvent
from tests import factories
from trading.models import EquitySample, Heartbeat, Position, TradingState

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the browser tests cannot run"),
    pytest.mark.django_db(transaction=True),
]
SIZES = {"laptop": (1366, 768), "phone": (390, 844)}
WAIT_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    # Playwright's synchronous interface runs an event loop in this thread, where Django refuses queries.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Screen:
    """One page with what went wrong on it."""

    def __init__(self, page, server: str) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.missing: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("request", self._note_request)
        page.on("response", self._note_response)

    def _note_request(self, request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.server).netloc:
            self.outside.append(request.url)

    def _note_response(self, response) -> None:
        if response.status >= 404:
            self.missing.append(f"{response.status} {response.url}")

    def open(self, path: str) -> None:
        self.page.goto(self.server + path)

    def sign_in(self, name: str) -> None:
        self.open("/admin/")
        self.page.fill("input[name=username]", name)
        self.page.fill("input[name=password]", factories.PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_url("**/admin/")

    def wait_for(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def shoot(self, name: str) -> None:
        """Keep a picture where SCREENSHOTS names a folder; people look at them, tests do not."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture
def screen(request, browser, live_server):
    size = getattr(request, "param", "laptop")
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="UTC")
    shown = Screen(context.new_page(), live_server.url)
    yield shown
    # The poll must not outlive the database's cleaning.
    shown.page.goto("about:blank")
    context.close()
    assert (shown.errors, shown.outside, shown.missing) == ([], [], [])


@pytest.fixture
def people(transactional_db):
    factories.UserFactory(username="operator", roles=(Role.REQUESTER, Role.OPERATOR))
    factories.UserFactory(username="auditor", roles=(Role.AUDITOR,))


@pytest.fixture
def desk(people):
    place = factories.make_desk()
    now = timezone.now()
    for step in range(200):
        equity = Decimal(1100) + Decimal((step * 37) % 23) / 10 - Decimal(step) / 50
        factories.EquityFactory(
            venue_account=place, equity=equity, market_at=now - timedelta(minutes=5 * (200 - step))
        )
    for step in range(3):
        factories.TradeFactory(
            venue_account=place,
            closed_at=now - timedelta(minutes=10 * step),
            opened_at=now - timedelta(hours=1),
            net_pnl=Decimal("0.54") - step,
        )
    return place


@pytest.mark.parametrize("screen", SIZES, indirect=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_first_page_answers_at_a_glance(screen, desk, theme, request):
    screen.page.emulate_media(color_scheme=theme)
    screen.sign_in("operator")
    screen.wait_for("Trading on paper")
    text = screen.page.inner_text("#desk-page")
    for part in (
        "MICRO",
        "ETHUSDT",
        "verified",
        "What is wrong",
        "What should I press",
        "Preflight was never run",
    ):
        assert part in text
    assert screen.page.get_by_text("Paper", exact=True).first.is_visible()
    assert screen.page.locator("header a.desk-stop, .desk-stop").first.is_visible()
    width = screen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, "the page scrolls sideways"
    screen.shoot(f"first-page-{request.node.callspec.params['screen']}-{theme}")


def test_the_first_page_follows_the_desk_without_being_reloaded(screen, desk):
    screen.sign_in("operator")
    screen.wait_for("Trading on paper")
    drawn = "Chart.getChart(document.getElementById('desk-chart')).data.labels.length"
    points = screen.page.evaluate(drawn)
    assert points > 100
    TradingState.objects.filter(scope="all").update(state="HALTED", reason="a test halted it", version=2)
    factories.EquityFactory(venue_account=desk, market_at=timezone.now())
    screen.wait_for("Not trading")
    screen.wait_for("a test halted it")
    screen.page.wait_for_function(f"{drawn} >= {points}")
    screen.shoot("first-page-halted")


def test_a_position_without_a_stop_cannot_be_overlooked(screen, desk):
    desk.orders.filter(purpose="stop_loss").update(state="cancelled")
    screen.sign_in("operator")
    screen.wait_for("ETHUSDT has no verified stop-loss")
    screen.shoot("first-page-unprotected")


def test_a_page_that_no_longer_hears_from_the_desk_says_so(screen, desk):
    screen.sign_in("operator")
    screen.wait_for("Trading on paper")
    screen.page.route("**/admin/live/", lambda route: route.abort())
    screen.page.wait_for_selector(".desk-is-stale", timeout=40_000)
    screen.shoot("first-page-stale")
    screen.errors.clear()


def test_an_empty_desk_says_what_to_do(screen, people):
    screen.sign_in("operator")
    screen.wait_for("Not trading")
    screen.wait_for("seed_demo")
    screen.shoot("first-page-empty")


@pytest.mark.parametrize("screen", SIZES, indirect=True)
def test_the_red_button_stops_after_one_confirmation(screen, desk, request):
    screen.sign_in("operator")
    screen.page.locator("a.desk-stop").first.click()
    screen.wait_for("What happens")
    assert not StopEvent.objects.exists()
    screen.shoot(f"stop-{request.node.callspec.params['screen']}")
    screen.page.check("input[value='account:paper-main']")
    screen.page.fill("textarea[name=reason]", "")
    screen.page.click("text=Stop now")
    assert not StopEvent.objects.exists()
    screen.page.fill("textarea[name=reason]", "the test says so")
    # A silent guard would be stood in for by a process of its own.
    Heartbeat.objects.filter(name="guard:sweep").update(beat_at=timezone.now() + timedelta(minutes=5))
    screen.page.click("text=Stop now")
    screen.wait_for("Stopping: account:paper-main")
    event = StopEvent.objects.get()
    assert (event.scope, event.actor, event.reason) == ("account:paper-main", "operator", "the test says so")
    assert TradingState.objects.get(scope="account:paper-main").state == "HALTED"
    assert AuditEvent.objects.filter(action="risk.stop_trip", actor="operator").count() == 1
    StopEvent.objects.update(progress="STOPPED", stopped_at=timezone.now())
    screen.wait_for("Stopped: account:paper-main")
    screen.shoot(f"stop-event-{request.node.callspec.params['screen']}")
    assert Position.objects.exclude(quantity=0).count() == 1


def test_an_auditor_sees_everything_and_may_not_stop(screen, desk):
    screen.sign_in("auditor")
    screen.wait_for("Trading on paper")
    assert screen.page.locator("a.desk-stop").count() == 0
    screen.open("/admin/stop/")
    screen.wait_for("You may not stop")
    screen.shoot("stop-auditor")
    screen.errors.clear()


def test_lists_and_facts_can_be_read(screen, desk):
    screen.sign_in("auditor")
    for path in ("trading/order", "risk/decision", "audit/auditevent", "trading/equitysample", "auth/user"):
        screen.open(f"/admin/{path}/")
        screen.page.wait_for_selector("#changelist")
        screen.shoot("list-" + path.replace("/", "-"))
    screen.open(f"/admin/trading/order/{desk.orders.first().pk}/change/")
    screen.wait_for("client order id")
    screen.shoot("fact-order")
    assert EquitySample.objects.exists()
