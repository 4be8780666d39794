"""What README's recipes tell people to type works as it stands."""

import ast
import inspect
import json
import re
import shlex
from datetime import timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command

from controlplane.approvals.core import Role
from risk.core.rules import market
from risk.models import Decision
from tests import factories
from tests.faces.conftest import ApiClient
from trading.models import StrategyAssignment, TradingState
from trading.strategies import protocol

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
RECIPES = README[README.index("## Recipes") : README.index("## What it is built on")]
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", RECIPES, re.DOTALL | re.MULTILINE)
RULE, STRATEGY, ASSIGNMENT, COMMANDS = BLOCKS


def test_the_example_of_a_rule_is_the_rule():
    shown = ast.parse(RULE).body[0]
    real = ast.parse(inspect.getsource(getattr(market, shown.name))).body[0]
    assert [ast.unparse(part) for part in shown.body[:3]] == [ast.unparse(part) for part in real.body[:3]]


def make_strategy():
    names = {**vars(protocol), "timedelta": timedelta}
    exec(STRATEGY, names)  # noqa: S102
    return names["Breakout"]()


def view(closes, holding=None):
    return protocol.View(
        symbol="XRPUSDT",
        bars=(),
        holding=holding,
        market_at=factories.MARKET_AT,
        known_closes=np.array(closes, dtype=float),
    )


def test_the_example_of_a_strategy_enters_at_a_new_high_only():
    strategy = make_strategy()
    entry = strategy.propose(view([1.0] * 60 + [1.1]))
    assert (type(entry), str(entry.side)) == (protocol.Enter, "buy")
    assert strategy.propose(view([1.0] * 61)) is None
    assert strategy.propose(view([1.0, 2.0])) is None


@pytest.mark.parametrize(("minutes", "leaves"), [(29, False), (30, True)])
def test_the_example_of_a_strategy_leaves_after_half_an_hour(minutes, leaves):
    strategy = make_strategy()
    holding = protocol.Holding(
        side=protocol.Side.BUY,
        quantity=protocol.Decimal(30),
        entry_price=protocol.Decimal(2),
        opened_at=factories.MARKET_AT - timedelta(minutes=minutes),
    )
    answer = strategy.propose(view([1.0] * 61, holding))
    assert isinstance(answer, protocol.Leave) is leaves


def test_the_assignment_puts_it_on_the_allow_list_and_makes_its_scope(desk):
    exec(ASSIGNMENT, {})  # noqa: S102
    assert StrategyAssignment.objects.get(strategy="breakout").symbols == ["XRPUSDT"]
    assert TradingState.objects.get(scope="strategy:breakout").state == "ACTIVE"


def test_a_bot_gets_its_token_and_its_answer(desk):
    factories.UserFactory(username="operator", roles=(Role.OPERATOR,))
    factories.UserFactory(username="admin", roles=(Role.ADMIN,))
    command, asking = COMMANDS.split("\n", 1)
    out = StringIO()
    call_command(*shlex.split(command)[2:], "--json", stdout=out)
    words = shlex.split(asking)
    body = words[words.index("-d") + 1]
    path = words[1].partition("/api/v1")[2]
    answer = ApiClient(token=json.loads(out.getvalue())["token"]).post(path, body.strip())
    assert answer.status_code == 200, answer.content
    assert answer.json()["decision"] == "allowed"
    assert Decision.objects.get().allowed


def test_every_address_a_recipe_names_is_one(api, desk):
    for path in re.findall(r"GET\s+/api/v1(/[\w/-]+)", RECIPES):
        assert api.get(path.replace("/ID", "/1")).status_code in {200, 404}, path
        assert api.get(path.replace("/ID", "/1")).json().get("code") != "not_found", path
