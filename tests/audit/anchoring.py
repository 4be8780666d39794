"""A signing key and places outside, for tests."""

from pathlib import Path

import pytest
from django.db import transaction

from controlplane.audit.anchors import checkpoint_line
from controlplane.audit.exporting import export_lines
from controlplane.audit.models import AuditEvent, Checkpoint
from controlplane.audit.services import record

KEY = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
"""RFC 8032, 7.1, test 1."""


@pytest.fixture
def outside(settings, tmp_path) -> Path:
    """A key, and a directory for checkpoints."""
    settings.AUDIT_SIGNING_KEY = KEY
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_CHECKPOINT_COMMAND = ""
    return tmp_path / "checkpoints"


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "public-key"
    path.write_text(f"{PUBLIC}\n")
    return path


def add_events(count: int, *, actor: str = "operator") -> list[AuditEvent]:
    with transaction.atomic():
        return [
            record(
                action="audit.export",
                actor=actor,
                subject_type="log",
                subject_id=number,
                reason="To see it.",
            )
            for number in range(count)
        ]


def line_of(checkpoint: Checkpoint) -> str:
    return checkpoint_line(checkpoint.body, checkpoint.signature)


def export_to(path: Path, **given: int) -> Path:
    path.write_bytes(b"".join(export_lines(**given)))
    return path
