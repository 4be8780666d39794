from datetime import timedelta

import pytest

from controlplane.code_version import get_code_version
from golive.models import StressResult
from golive.preflight.check_stress_scenarios import measure
from golive.preflight.scenarios import MAX_AGES
from tests.golive.preflight.conftest import GOLIVE
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


def run_all(**changes) -> None:
    """A passed run of every scenario just now; `changes` by scenario."""
    for name in MAX_AGES:
        facts = {"is_passed": True, "code_version": get_code_version(), "finished_at": get_clocks().wall_at}
        StressResult.objects.create(scenario=name, environment="paper", **(facts | changes.get(name, {})))


def findings() -> list[tuple[str, str]]:
    return [(finding.reason, finding.next) for finding in measure(GOLIVE).findings]


def test_scenarios_that_never_ran_fail_with_the_command_that_runs_them():
    found = measure(GOLIVE)
    assert findings() == [("never_run", "python3 manage.py stress run --all")]
    assert found.details["scenario_count"] == 7
    assert found.details["flash_crash"] == "never_run"


def test_seven_fresh_passes_on_this_code_pass():
    run_all()
    assert findings() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_passed": False}, "failed"),
        ({"code_version": "0" * 64}, "never_run"),
        ({"finished_at": get_clocks}, "too_old"),
    ],
)
def test_one_that_failed_or_is_old_or_of_other_code_is_named(change, reason):
    if "finished_at" in change:
        change = {"finished_at": get_clocks().wall_at - MAX_AGES["redis_outage"] - timedelta(seconds=1)}
    run_all(redis_outage=change)
    assert findings() == [(reason, "python3 manage.py stress run redis_outage")]


def test_the_latest_result_counts():
    run_all(flash_crash={"is_passed": False, "finished_at": get_clocks().wall_at - timedelta(hours=1)})
    run_all()
    assert findings() == []
