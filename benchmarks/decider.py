"""A deciding process of p5_parallel.py: registers and judges the orders that each line asks for.

Reads `{"account": …, "symbols": […], "count": n, "keeps": bool}` per line; answers with the wall times
between which it worked and how many were allowed and denied. `keeps` leaves what was approved in the
book; otherwise it lapses at once, so that the next order finds the same book.
"""

import json
import sys
import time
from collections import Counter
from typing import Any

import django


def work(wish: dict[str, Any]) -> dict[str, Any]:
    from benchmarks import desk
    from risk.judgement import GateContended, judge_intent
    from trading.models import Account
    from trading.selectors import get_clocks

    account = Account.objects.get(name=wish["account"])
    place = desk.place_of(account)
    seen: Counter[str] = Counter()
    started = time.time()
    for number in range(wish["count"]):
        symbol = wish["symbols"][number % len(wish["symbols"])]
        clocks = get_clocks()
        intent = desk.register(place, clocks, symbol=symbol)
        try:
            decision = judge_intent(intent_id=intent.pk, clocks=clocks)
        except GateContended:
            seen["contended"] += 1
            continue
        assert decision.pk is not None
        seen[decision.reason] += 1
        if not wish["keeps"]:
            desk.forget(account, (symbol,))
    return {"started": started, "ended": time.time(), "seen": dict(seen)}


def main() -> None:
    django.setup()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
