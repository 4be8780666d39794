"""An approved order is handed to a worker; a broker that is away fails nothing."""

import pytest

from controlplane import intake
from controlplane.approvals.services import check_token
from controlplane.celery import app
from controlplane.tasks import execute_intent
from risk.schemas import OrderIntentIn
from tests import factories
from tests.faces.test_api_orders import body
from trading.models import OrderIntent
from trading.selectors import get_clocks


def ask(**changes) -> intake.Answer:
    factories.ApiTokenFactory(raw="raw")
    return intake.request_order(
        wish=OrderIntentIn(**body(**changes)), actor=check_token("raw"), clocks=get_clocks()
    )


@pytest.fixture
def queue(db):
    """The broker's queue, emptied."""
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        queue.clear()
        yield queue
        queue.clear()
        queue.close()


def test_an_allowed_order_is_put_into_the_queue_by_its_id_only(
    queue, desk_in_order, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answer = ask(execute=True)
    message = queue.get(timeout=10)
    arguments, _, _ = message.payload
    message.ack()
    assert arguments == [str(answer.intent.pk)]
    assert message.headers["task"] == execute_intent.name


@pytest.mark.parametrize("changes", [{"execute": False}, {"execute": True, "quantity": "500"}])
def test_an_order_not_to_be_executed_or_not_allowed_is_not_queued(
    queue, desk_in_order, django_capture_on_commit_callbacks, changes
):
    with django_capture_on_commit_callbacks(execute=True):
        ask(**changes)
    with pytest.raises(queue.Empty):
        queue.get_nowait()


def test_a_broker_that_is_away_fails_nothing(desk_in_order, django_capture_on_commit_callbacks, no_redis):
    with django_capture_on_commit_callbacks(execute=True):
        answer = ask(execute=True)
    assert answer.decision.allowed
    assert OrderIntent.objects.get(client_ref="bot-1").state == "approved"


@pytest.fixture
def desk_in_order(db):
    return factories.make_desk()
