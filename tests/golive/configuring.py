"""Files of go_live.yaml for tests, and accounts that were activated under one."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.selectors import find_user, get_actor
from golive.config_file import get_config_path, load_config
from golive.freeze import SOURCES
from golive.models import Activation, Freeze, GoLiveConfig, Programme
from golive.permits import replace_permit
from tests.approvals.conftest import make_person
from trading.models import Account, Permit
from trading.selectors import get_clocks

REASON = "a change that the desk talked through"


def hold_files_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file but go_live.yaml and profiles.yaml says what is loaded, whoever edits the tree meanwhile."""
    for name, source in SOURCES.items():
        if source.filed is not None and name not in {"go_live", "profiles"}:
            monkeypatch.setitem(SOURCES, name, replace(source, filed=source.loaded))


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped file with each text replaced by another."""
    text = get_config_path().read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "go_live.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loader() -> Actor:
    """Somebody who may load."""
    if find_user("olga") is None:
        make_person("olga", Role.OPERATOR)
    return get_actor("olga")


def load(folder: Path, *changes: tuple[str, str]) -> GoLiveConfig:
    return load_config(actor=loader(), reason=REASON, path=write(folder, *changes))


def make_live(account: Account) -> Permit:
    """A live permit with the limits of the one it replaces."""
    before = Permit.objects.get(account=account, active=True)
    return replace_permit(
        account=account,
        kind="LIVE",
        profile=before.profile,
        limit_set_digest=before.limit_set_digest,
        actor="system:test",
        reason="activated by the test",
        wall_at=get_clocks().wall_at,
    )


def activate(account: Account, config: GoLiveConfig, freeze: Freeze | None = None) -> Activation:
    """As if the account had been activated with what is frozen; without it, with nothing."""
    freeze = freeze or Freeze.objects.create(
        digest="0" * 64, groups={}, body="{}", code_version="0" * 64, taken_by="ann"
    )
    permit = make_live(account)
    programme = Programme.objects.create(
        account=account,
        profile=permit.profile,
        phase="observation",
        freeze=freeze,
        opened_by="ann",
        phase_since_market_at=get_clocks().market_at,
    )
    return Activation.objects.create(
        programme=programme,
        account=account,
        request_id=uuid4(),
        request_digest="0" * 64,
        profile=permit.profile,
        limit_set_digest=permit.limit_set_digest,
        config=config,
        freeze=freeze,
        permit=permit,
        requested_by="ann",
        approved_by=["bob"],
        activated_by="ann",
        approval_words="another person",
        market_at=get_clocks().market_at,
    )
