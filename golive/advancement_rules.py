"""From config/advancement.yaml to the rules of advancement. Percentages live in the file only."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from controlplane.audit.canonical import digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from golive.core.advancement import AdvancementRules, Rung
from golive.core.words import LADDER
from risk.core.emergency_stop import StopSource

DIGEST_DOMAIN = "advancement-rules-v1"
# key of the file -> field of AdvancementRules, a ratio
PERCENT = {
    "uptime_percent": "min_uptime",
    "week_loss_share_percent": "week_loss_share",
    "drawdown_share_percent": "drawdown_share",
    "global_risk_ok_percent": "min_ok_share",
    "slippage_percentile": "slippage_percentile",
    "confidence_percent": "confidence",
}
UNPROTECTED, FACTOR = "unprotected_seconds", "profit_factor"


def get_advancement_path() -> Path:
    return Path(settings.CONFIG_DIR) / "advancement.yaml"


@lru_cache(maxsize=4)
def get_advancement_rules(path: Path | None = None) -> AdvancementRules:
    """The rules as this process first read them; raises YamlError."""
    return load_advancement_rules(path or get_advancement_path())


def load_advancement_rules(path: Path) -> AdvancementRules:
    """Read the file; raises YamlError for anything unknown, missing or out of order."""
    file = load_yaml(path)
    file.require_keys(("criteria", "rungs", "stops", "demotion"))
    criteria, demotion = file.section("criteria"), file.section("demotion")
    criteria.require_keys((*PERCENT, UNPROTECTED, FACTOR))
    demotion.require_keys(("paper_days",))
    rules = AdvancementRules(
        digest="",
        max_unprotected=timedelta(seconds=_count(criteria, UNPROTECTED)),
        min_profit_factor=_above(criteria, FACTOR, Decimal(0)),
        rungs=_read_rungs(file.section("rungs")),
        loss_stops=_read_loss_stops(file.section("stops")),
        paper_days=_count(demotion, "paper_days"),
        **{field: _share(criteria, key) for key, field in PERCENT.items()},
    )
    return replace(rules, digest=digest_of(DIGEST_DOMAIN, _describe(rules)))


def _describe(rules: AdvancementRules) -> dict[str, object]:
    return {
        "ratios": {field: getattr(rules, field) for field in PERCENT.values()},
        "max_unprotected": rules.max_unprotected,
        "min_profit_factor": rules.min_profit_factor,
        "rungs": {
            name: [rung.days, rung.trades, rung.proves_mean] for name, rung in sorted(rules.rungs.items())
        },
        "loss_stops": sorted(rules.loss_stops),
        "paper_days": rules.paper_days,
    }


def _read_rungs(section: YamlMap) -> dict[str, Rung]:
    """Each rung asks for at least as much as the one below."""
    section.require_keys(LADDER[1:])
    rungs: dict[str, Rung] = {}
    before = Rung(profile="", days=1, trades=1, proves_mean=False)
    for name in LADDER[1:]:
        part = section.section(name)
        part.require_keys(("days", "trades", "proves_mean"))
        rung = Rung(
            profile=name,
            days=_count(part, "days"),
            trades=_count(part, "trades"),
            proves_mean=part.flag("proves_mean"),
        )
        for key in ("days", "trades"):
            if getattr(rung, key) < getattr(before, key):
                raise part.error(key, "must not be below the rung before")
        rungs[name] = before = rung
    return rungs


def _read_loss_stops(section: YamlMap) -> frozenset[str]:
    """Every source of a stop is in one of the two lists."""
    section.require_keys(("loss", "inactive"))
    loss, inactive = section.texts("loss"), section.texts("inactive")
    known = {source.value for source in StopSource}
    for key, names in (("loss", loss), ("inactive", inactive)):
        for name in names:
            if name not in known:
                raise section.error(key, f"unknown source {name!r}")
    if both := sorted(set(loss) & set(inactive)):
        raise section.error("inactive", f"in both lists: {', '.join(both)}")
    if missing := sorted(known - {*loss, *inactive}):
        raise section.error("loss", f"in neither list: {', '.join(missing)}")
    return frozenset(loss)


def _above(section: YamlMap, key: str, least: Decimal) -> Decimal:
    number = section.number(key)
    if number > least:
        return number
    raise section.error(key, f"must be above {least}, found {number}")


def _share(section: YamlMap, key: str) -> Decimal:
    number = _above(section, key, Decimal(0))
    if number > 100 or (key == "confidence_percent" and number >= 100):
        raise section.error(key, f"must be a share below 100, found {number}")
    return number / 100


def _count(section: YamlMap, key: str) -> int:
    number = section.whole(key)
    if number > 0:
        return number
    raise section.error(key, f"must be above 0, found {number}")
