import math
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.observability.folding import fold_dead_processes
from golive.core.values import CheckName
from golive.metrics import TRUTHS
from risk.core.reasons import ReasonCode
from tests.risk.desk import make_desk
from tests.test_health import HOSTS, dead_database, free_port  # noqa: F401
from trading import models
from trading.selectors import get_clocks
from trading.services import record_heartbeat

ROOT = Path(__file__).resolve().parent.parent

COUNTING = """
import sys
from prometheus_client import Counter, Gauge, Histogram
Counter("things", "Things", ["kind"]).labels(kind=sys.argv[1]).inc(int(sys.argv[2]))
Gauge("level", "Level", multiprocess_mode="mostrecent").set(int(sys.argv[2]))
Gauge("busy", "Busy", multiprocess_mode="livesum").set(1)
Histogram("wait_seconds", "Wait", buckets=(1, 5)).observe(int(sys.argv[2]))
"""


def scrape(client) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels."""
    text = client.get("/metrics", **HOSTS).content.decode()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.get(sample.name, {}), f"{sample.name} twice"
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def count_in_a_process_that_ends(folder: Path, kind: str, amount: int) -> None:
    subprocess.run(
        [sys.executable, "-c", COUNTING, kind, str(amount)],
        check=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
    )


@pytest.mark.django_db
def test_truth_is_read_from_rows_at_each_scrape(client):
    account = make_desk()
    name = (("account", account.name),)
    first = scrape(client)
    assert first["database_up"][()] == first["redis_up"][()] == 1
    assert first["ess_state"][(("scope", "all"),)] == 0
    assert first["global_risk_level"][()] == 0
    assert first["reconciliation_age_seconds"][name] < 60
    assert 0 < first["permit_lease_seconds"][name] <= 600
    assert first["exchange_health"][(("venue", "binanceusdm"),)] in {0, 1}
    assert first["golive_phase"][(*name, ("phase", "paper"))] == 1
    assert first["golive_phase"][(*name, ("phase", "live"))] == 0
    assert first["risk_headroom_ratio"][(*name, ("limit", "positions"))] == 1
    models.TradingState.objects.filter(scope="all").update(state="HALTED")
    assert scrape(client)["ess_state"][(("scope", "all"),)] == 2


@pytest.mark.django_db
def test_what_never_happened_is_infinitely_old_and_a_check_that_never_ran_has_not_passed(client):
    found = scrape(client)
    record_heartbeat(name="guard:sweep")
    assert found["process_heartbeat_age_seconds"][(("process", "worker"),)] == math.inf
    assert found["audit_last_checkpoint_age_seconds"][()] == math.inf
    assert found["global_risk_level"][()] == 2
    assert found["preflight_age_seconds"][()] == math.inf
    for check in CheckName:
        assert found["preflight_check_status"][(("check", check.value),)] == 0
    assert scrape(client)["process_heartbeat_age_seconds"][(("process", "guard"),)] < 60


@pytest.mark.django_db
def test_closed_label_sets_stand_at_zero_before_anything_happened(client):
    make_desk()
    found = scrape(client)
    decisions = found["risk_gate_decisions_total"]
    reasons = {dict(labels)["reason"] for labels in decisions}
    assert reasons >= {code.value for code in ReasonCode} | {"none"}
    for family in ("ess_triggers_total", "exchange_failover_events_total", "orders_total"):
        assert found[family], family
    assert len(found["stress_scenario_executions_total"]) == 14


@pytest.mark.django_db
def test_a_process_own_copy_of_a_truth_is_left_out(client):
    from risk.metrics import GLOBAL_RISK

    make_desk()
    GLOBAL_RISK.set(2)
    assert scrape(client)["global_risk_level"] == {(): 0}


@pytest.mark.django_db(transaction=True)
def test_without_a_database_truths_are_absent_and_counters_go_on(client, dead_database):  # noqa: F811
    found = scrape(client)
    assert found["database_up"] == {(): 0}
    assert found["redis_up"] == {(): 1}
    assert "ess_state" not in found
    assert "ess_triggers_total" in found or "risk_gate_decision_seconds_count" in found


@pytest.mark.django_db
def test_without_redis_the_rest_is_there(client, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    found = scrape(client)
    assert found["redis_up"] == {(): 0}
    assert "broker_queue_length" not in found
    assert found["database_up"] == {(): 1}


@pytest.mark.django_db
def test_stale_prices_make_a_venue_unhealthy(client):
    make_desk()
    models.MarketPrice.objects.update(read_at=get_clocks().wall_at - timedelta(seconds=181))
    assert scrape(client)["exchange_health"] == {(("venue", "binanceusdm"),): 0}


@pytest.mark.django_db
def test_a_position_without_a_verified_stop_is_counted(client):
    from tests.risk.desk import hold

    hold(make_desk())
    assert scrape(client)["unprotected_positions"] == {(("account", "main"),): 1}


@pytest.mark.django_db
def test_counters_of_other_processes_are_in_the_scrape_and_survive_them(client, folder):
    for _ in range(3):
        count_in_a_process_that_ends(folder, "a", 2)
    count_in_a_process_that_ends(folder, "b", 7)
    found = scrape(client)
    assert found["things_total"] == {(("kind", "a"),): 6, (("kind", "b"),): 7}
    assert found["wait_seconds_bucket"][(("le", "5.0"),)] == 3
    assert found["wait_seconds_count"] == {(): 4}
    assert found["wait_seconds_sum"] == {(): 13}
    assert found["level"] == {(): 7}
    assert "busy" not in found


@pytest.mark.django_db
def test_restarts_leave_neither_files_nor_series(client, folder):
    def measure() -> tuple[list[str], int]:
        text = client.get("/metrics", **HOSTS).content
        return sorted(path.name for path in folder.glob("*.db")), text.count(b"things_total{")

    count_in_a_process_that_ends(folder, "a", 1)
    before = measure()
    for _ in range(5):
        count_in_a_process_that_ends(folder, "a", 1)
    assert measure() == before
    assert scrape(client)["things_total"] == {(("kind", "a"),): 6}


def test_living_processes_are_not_folded(folder):
    mine = folder / f"counter_{os.getpid()}.db"
    mine.touch()
    assert fold_dead_processes(folder) == 0
    assert mine.exists()


def test_every_truth_has_a_name_that_prometheus_takes():
    for name, truth in TRUTHS.items():
        assert name == truth.name
        assert name.replace("_", "").isalnum()
        assert truth.documentation
