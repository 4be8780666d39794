"""From config/exposure.yaml to the limits that span accounts, and from there to rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.db import transaction

from controlplane.audit import services as audit
from controlplane.audit.canonical import canonical_text, digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from risk import models

DIGEST_DOMAIN = "exposure-limits-v1"
# Kind of scope -> the file's default number and its named ones.
KINDS: Mapping[str, tuple[str, str]] = {
    "venue": ("venue_usd", "venues"),
    "strategy": ("strategy_usd", "strategies"),
    "symbol": ("symbol_usd", "symbols"),
}
FIRM = "firm_usd"
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The most gross notional (USDT) of all accounts together: `limits` by scope, `defaults` by kind.

    `digest` names the stored row; it is empty where the limits were read from the file only.
    """

    digest: str = ""
    limits: Mapping[str, Decimal]
    defaults: Mapping[str, Decimal]

    def limit_of(self, scope: str) -> Decimal:
        """Scopes: all, venue:V, strategy:S, symbol:X."""
        return self.limits[scope] if scope in self.limits else self.defaults[scope.partition(":")[0]]


def get_exposure_path() -> Path:
    return Path(settings.CONFIG_DIR) / "exposure.yaml"


def load_exposure(path: Path | None = None) -> Exposure:
    """Read the file; raises YamlError for anything unknown, missing or not above 0."""
    file = load_yaml(path or get_exposure_path())
    file.require_keys((FIRM, *(key for key, _ in KINDS.values())), [name for _, name in KINDS.values()])
    named = {
        f"{kind}:{name}": number
        for kind, (_, key) in KINDS.items()
        if key in file
        for name, number in _read_named(file.section(key)).items()
    }
    return Exposure(
        limits={ALL: _positive(file, FIRM), **named},
        defaults={kind: _positive(file, key) for kind, (key, _) in KINDS.items()},
    )


def _read_named(section: YamlMap) -> dict[str, Decimal]:
    return {name: _positive(section, name) for name in section}


def _positive(section: YamlMap, key: str) -> Decimal:
    number = section.number(key)
    if number > 0:
        return number
    raise section.error(key, f"must be above 0, found {number}")


@transaction.atomic
def store_exposure(*, exposure: Exposure, actor: str, reason: str) -> models.ExposureLimits:
    """Put the limits in force, audited; the same numbers as those in force are not stored again."""
    numbers = {"limits": dict(exposure.limits), "defaults": dict(exposure.defaults)}
    body = canonical_text(numbers)
    newest = _get_newest()
    if newest is not None and newest.body == body:
        return newest
    # The digest covers what it replaces, so that numbers may come back.
    replaces = "" if newest is None else newest.digest
    row = models.ExposureLimits.objects.create(
        digest=digest_of(DIGEST_DOMAIN, {**numbers, "replaces": replaces}), body=body, loaded_by=actor
    )
    audit.record(
        action="risk.exposure_load",
        actor=actor,
        subject_type="exposure_limits",
        subject_id=row.digest,
        reason=reason,
        detail=numbers,
    )
    return row


def ensure_exposure(*, actor: str) -> models.ExposureLimits:
    """The limits in force or, where none ever were, those of config/exposure.yaml; raises YamlError."""
    return _get_newest() or store_exposure(
        exposure=load_exposure(), actor=actor, reason="first exposure limits of the desk"
    )


def _get_newest() -> models.ExposureLimits | None:
    return models.ExposureLimits.objects.order_by("-id").first()


def get_exposure() -> Exposure | None:
    """The limits in force; None where none were ever loaded, and then nothing is allotted."""
    row = _get_newest()
    if row is None:
        return None
    body = json.loads(row.body)
    parts = {
        name: {scope: Decimal(number) for scope, number in body[name].items()}
        for name in ("limits", "defaults")
    }
    return Exposure(digest=row.digest, limits=parts["limits"], defaults=parts["defaults"])
