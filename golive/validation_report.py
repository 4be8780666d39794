"""The pre-launch validation report: made of a run and rows of the desk, kept by its digest, written out."""

import logging
from datetime import datetime
from pathlib import Path

from django.db import DatabaseError, transaction

from controlplane.audit import services as audit
from controlplane.audit.canonical import digest_of
from controlplane.desk import write_private
from controlplane.documents import Document, to_html, to_markdown
from golive.core.values import CheckName, CheckResult, CheckStatus, Purpose
from golive.core.words import ProgrammeState
from golive.models import PreflightRun, Programme, ValidationReport
from golive.preflight.report import make_document
from golive.runs import Report
from golive.validation_evidence import gather_evidence
from trading.selectors import get_clocks

logger = logging.getLogger(__name__)

DIGEST_DOMAIN = "validation-report-v1"
ACTOR = "command:preflight"


def make_report(*, programme: Programme | None, run: PreflightRun, actor: str = ACTOR) -> ValidationReport:
    """The report of a kept run with the desk's evidence as it is now; kept for good and audited."""
    document = make_document(read_run(run), gather_evidence(programme), at=get_clocks().wall_at)
    return store_report(document, programme, run.pk, actor)


@transaction.atomic
def store_report(
    document: Document, programme: Programme | None, run_id: int, actor: str
) -> ValidationReport:
    """Named by the digest of its Markdown; the same report again is the same row."""
    markdown = to_markdown(document)
    digest = digest_of(DIGEST_DOMAIN, markdown)
    row, is_new = ValidationReport.objects.get_or_create(
        digest=digest, defaults={"programme": programme, "run_id": run_id, "markdown": markdown}
    )
    if is_new:
        audit.record(
            action="golive.report",
            actor=actor,
            subject_type="validation_report",
            subject_id=digest,
            detail={"run": run_id, "programme": None if programme is None else programme.pk},
        )
    return row


def read_run(run: PreflightRun) -> Report:
    """A finished run as it was reported."""
    results = tuple(
        CheckResult(
            name=CheckName(row.name),
            status=CheckStatus(row.status),
            reason=row.reason,
            text=row.text,
            details=row.details,
            seconds=row.seconds,
            next=row.next_command,
            is_counted=row.is_counted,
        )
        for row in run.checks.order_by("id")
    )
    return Report(run_id=run.pk, purpose=Purpose(run.purpose), results=results, seconds=run.seconds or 0.0)


def write_report(report: Report, path: Path, *, at: datetime, account: str = "") -> ValidationReport | None:
    """Write Markdown or HTML, by the file's ending; kept too, where the run is. Raises OSError.

    Without a database the report still says what the checks measured.
    """
    row: ValidationReport | None = None
    try:
        programme = find_programme(account)
        document = make_document(report, gather_evidence(programme), at=at)
        if report.run_id is not None:
            row = store_report(document, programme, report.run_id, ACTOR)
    except DatabaseError as error:
        logger.warning("the report is not kept: %s", error)
        document = make_document(report, None, at=at)
    text = to_html(document) if path.suffix == ".html" else to_markdown(document)
    write_private(path.absolute(), text)
    return row


def find_programme(account: str = "") -> Programme | None:
    """The open programme of the account or, where none is named, the only one that is open."""
    rows = Programme.objects.select_related("account").filter(state=ProgrammeState.OPEN.value)
    if account:
        return rows.filter(account__name=account).first()
    found = list(rows.order_by("id")[:2])
    return found[0] if len(found) == 1 else None
