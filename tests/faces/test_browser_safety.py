"""The strip, the restrictions and closing by hand in a real browser, light and dark, wide and narrow."""

import pytest
from django.utils import timezone

from risk.core.emergency_stop import Cause
from risk.models import GlobalRisk, Restriction, StopEvent
from risk.reducing.restrictions import restrict
from tests import factories
from tests.faces import test_browser as base
from trading.models import Order, OrderIntent, Position, TradingState
from trading.selectors import get_clocks

pytestmark = base.pytestmark
browser, screen, people, desk = base.browser, base.screen, base.people, base.desk

WIDTHS = {"wide": (1280, 800), "narrow": (390, 844)}
SCOPE = "account:paper-main"
# Relative luminance and contrast, WCAG 2.2; background is the first ancestor's that has one.
CONTRAST = """element => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  let behind = element;
  const fill = (node) => rgb(getComputedStyle(node).backgroundColor);
  while (behind !== null && fill(behind)[3] < 255) behind = behind.parentElement;
  const back = behind === null ? [255, 255, 255] : fill(behind);
  const one = light(rgb(getComputedStyle(element).color)), two = light(back);
  return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
}"""


def fit(screen, size: str, theme: str) -> None:
    width, height = WIDTHS[size]
    screen.page.set_viewport_size({"width": width, "height": height})
    screen.page.emulate_media(color_scheme=theme)


def overflows(screen) -> bool:
    return screen.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def begin(cause: Cause = Cause.DAILY_LOSS, **values) -> Restriction:
    return restrict(
        scope=SCOPE,
        cause=cause,
        reason="lost 0.60 % since 2026-11-24 00:00 UTC, the limit is 0.50 %",
        actor="guard:test",
        clocks=get_clocks(),
        needs_acknowledgement=True,
        **values,
    )


def stop_account() -> StopEvent:
    event = StopEvent.objects.create(
        scope=SCOPE, source="manual", actor="operator", reason="looked wrong", market_at=timezone.now()
    )
    for number in range(3):
        event.steps.create(venue="binanceusdm", account="paper-main", action="cancel", subject=f"cp{number}")
    TradingState.objects.filter(scope=SCOPE).update(state="HALTED", reason="looked wrong", version=2)
    return event


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_strip_is_read_in_any_light_and_width_on_lists_too(screen, desk, size, theme):
    fit(screen, size, theme)
    screen.sign_in("operator")
    for state in ("active", "reducing", "halted"):
        if state == "reducing":
            begin()
        if state == "halted":
            stop_account()
            GlobalRisk.objects.update(level="WARNING")
        screen.open("/admin/trading/order/")
        words = screen.page.inner_text("#desk-strip")
        assert state.upper() in words
        for element in screen.page.locator("#desk-strip *:visible").all():
            if element.inner_text().strip():
                assert element.evaluate(CONTRAST) >= 4.5, element.inner_text()
        assert screen.page.locator("#desk-strip a.desk-stop").is_visible()
        assert not overflows(screen)
        screen.shoot(f"strip-{state}-{size}-{theme}")
    assert "STOPPING: 3 steps to go" in words
    assert "WARNING" in words


def test_the_strip_follows_the_desk_on_a_list_without_being_reloaded(screen, desk):
    screen.sign_in("operator")
    screen.open("/admin/trading/order/")
    screen.page.evaluate("window.stillHere = true")
    assert "Desk ACTIVE" in screen.page.inner_text("#desk-strip-said")
    stop_account()
    screen.page.wait_for_selector("#desk-strip .desk-strip-bad")
    screen.page.wait_for_function("document.getElementById('desk-strip-said').textContent.includes('HALTED')")
    assert screen.page.evaluate("window.stillHere")
    # It stays in sight however far down the page is.
    screen.open("/admin/")
    screen.page.mouse.wheel(0, 2000)
    box = screen.page.locator("#desk-strip").bounding_box()
    assert box is not None
    assert box["y"] >= 0


def test_a_strip_that_hears_nothing_says_unknown_and_not_what_it_last_knew(screen, desk):
    screen.sign_in("operator")
    screen.open("/admin/trading/order/")
    assert screen.page.locator("#desk-strip .desk-strip-good").first.is_visible()
    screen.page.route("**/admin/strip/", lambda route: route.abort())
    screen.page.wait_for_selector(".desk-strip-silence", state="visible", timeout=40_000)
    assert screen.page.locator("#desk-strip .desk-strip-good:visible").count() == 0
    assert screen.page.locator("#desk-strip a.desk-stop").is_visible()
    screen.shoot("strip-unknown")
    screen.errors.clear()


@pytest.mark.parametrize("size", WIDTHS)
def test_a_restriction_is_seen_and_said_to_be(screen, desk, size):
    fit(screen, size, "light")
    begin()
    screen.sign_in("operator")
    screen.page.locator("#desk-strip .desk-strip-warn").first.click()
    screen.wait_for("lost 0.60 %")
    assert not overflows(screen)
    screen.shoot(f"restrictions-{size}")
    assert "the next UTC day" in screen.page.inner_text("#content")
    screen.page.get_by_text("I have seen it…").click()
    screen.wait_for("By itself this lifts nothing")
    screen.shoot(f"restriction-{size}")
    screen.page.fill("textarea[name=reason]", "the losses were looked at")
    screen.page.get_by_role("button", name="I have seen it").click()
    screen.page.wait_for_url("**/admin/restrictions/")
    assert Restriction.objects.get().acknowledged_by == "operator"


@pytest.mark.parametrize("size", WIDTHS)
def test_a_position_is_closed_after_one_confirmation_and_the_page_tells(screen, desk, size):
    fit(screen, size, "light" if size == "wide" else "dark")
    screen.sign_in("operator")
    screen.page.get_by_role("link", name="Close ETHUSDT of paper-main").click()
    screen.wait_for("What happens")
    assert not overflows(screen)
    screen.shoot(f"close-{size}")
    screen.page.get_by_role("button", name="Close position").click()
    screen.wait_for("Queued: ETHUSDT")
    screen.shoot(f"closing-queued-{size}")
    intent = OrderIntent.objects.get(source="operator")
    assert not Order.objects.filter(intent=intent).exists()
    factories.OrderFactory(
        intent=intent,
        purpose="exit",
        side="sell",
        reduce_only=True,
        state="filled",
        filled_quantity=intent.quantity,
    )
    OrderIntent.objects.filter(pk=intent.pk).update(state="done")
    Position.objects.update(quantity=0, entry_price=None)
    screen.wait_for("Closed: ETHUSDT")
    screen.shoot(f"closing-done-{size}")
    screen.open("/admin/positions/")
    screen.wait_for("No position is open")
    screen.shoot(f"positions-{size}")


def test_the_first_page_has_room_for_the_button(screen, desk):
    for size in WIDTHS:
        fit(screen, size, "light")
        if size == "wide":
            screen.sign_in("operator")
        screen.open("/admin/")
        screen.wait_for("What is wrong")
        assert not overflows(screen)
        screen.shoot(f"first-{size}")
