"""Read-only pages of the log: evidence is looked at, never edited."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import BooleanField, CharField, Func, Model, QuerySet, Value
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from controlplane.audit.actions import DENIED, get_registered_actions
from controlplane.audit.models import (
    AuditEvent,
    AuditHead,
    Checkpoint,
    CheckpointSink,
    Detachment,
    Seal,
    Segment,
    Verification,
)
from controlplane.audit.pages import KeyChangeList, Lead, OlderPaginator, find_by_key, find_by_words
from controlplane.audit.selectors import (
    get_last_verification,
    get_unanchored_since,
    list_sink_states,
    seq_at,
)
from controlplane.audit.streams import get_registered_streams

KEY_ORDERS = ({"-id"}, {"-pk"}, {"-seq"})


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Nothing can be added, changed, deleted or acted upon.

    A page that is ordered by its key alone, newest first, goes on by key; its `search_fields` are
    identifiers, found by their indexes one by one.
    """

    actions = None
    # Counting a table of a million rows costs more than reading a page of it.
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50
    list_fullwidth = True
    own_parameters: tuple[str, ...] = ()
    # For an identifier that is unique within an account only: its index begins with the account.
    search_leads: ClassVar[Mapping[str, Lead]] = {}

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @property
    def is_by_key(self) -> bool:
        return set(self.ordering or ()) in KEY_ORDERS

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        found: type = KeyChangeList if self.is_by_key else super().get_changelist(request, **kwargs)
        return found

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> InfinitePaginator:
        return (OlderPaginator if self.is_by_key else self.paginator)(*args, **kwargs)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return () if self.is_by_key else super().get_sortable_by(request)

    def narrow(self, request: HttpRequest, rows: QuerySet[Model]) -> QuerySet[Model]:
        """Apply `own_parameters`; a page that has some says how."""
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        text = search_term.strip()
        if not self.is_by_key or not text:
            found: tuple[QuerySet[Model], bool] = super().get_search_results(request, queryset, search_term)
            return found
        fields = [field.removeprefix("=") for field in self.search_fields]
        return find_by_key(queryset, fields, text, self.search_leads), False


class HoldsWords(Func):
    """Whether the body holds all the words, by the index audit_event_words."""

    template = "to_tsvector('simple', left(body, 100000)) @@ plainto_tsquery('simple', %(expressions)s)"
    output_field = BooleanField()


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = (
        "seq",
        "occurred_at",
        "action",
        "actor",
        "actor_kind",
        "subject_type",
        "subject_id",
        "reason",
    )
    search_fields = ("=seq", "hash")
    search_help_text = "A sequence number, a hash, or words of the event"
    ordering = ("-seq",)
    fields = (*list_display, "correlation_id", "environment", "body", "prev_hash", "hash")
    own_parameters = ("action", "actor", "subject", "correlation", "since", "until")
    list_before_template = "desk/audit_log.html"

    def narrow(self, request: HttpRequest, rows: QuerySet[Model]) -> QuerySet[Model]:
        """By action (a name, or all that begin with "risk."), actor, subject, correlation id and time."""
        given = {name: request.GET.get(name, "").strip() for name in self.own_parameters}
        kind, colon, name = given["subject"].partition(":")
        action = given["action"]
        exact = {
            "action__startswith" if action.endswith(".") else "action": action,
            "actor": given["actor"],
            "subject_type": kind if colon else "",
            "subject_id": name if colon else kind,
            "correlation_id": given["correlation"],
        }
        rows = rows.filter(**{column: text for column, text in exact.items() if text})
        # Times rise with seq: a time is looked up once, and then only the key is compared.
        if (since := _moment(given["since"])) is not None:
            rows = rows.filter(seq__gte=seq_at(since))
        if (until := _moment(given["until"])) is not None:
            rows = rows.filter(seq__lt=seq_at(until))
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        text = search_term.strip()
        if text and not text.isdigit() and len(text) != 64:
            words = HoldsWords(Value(text, output_field=CharField()))
            return find_by_words(queryset, words), False
        return super().get_search_results(request, queryset, search_term)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        head = AuditHead.objects.get()
        names = get_registered_actions()
        page: HttpResponse = super().changelist_view(
            request,
            {
                **(extra_context or {}),
                "head": head,
                "verification": get_last_verification(),
                "unanchored_since": get_unanchored_since(head.seq),
                "sinks": list_sink_states(),
                "actions": sorted({*names, *(f"{name}{DENIED}" for name in names)}),
                "given": {name: request.GET.get(name, "") for name in (*self.own_parameters, "q")},
            },
        )
        return page


def _moment(text: str) -> datetime | None:
    """Read 2026-03-01 or 2026-03-01T12:00 as UTC; what cannot be read narrows nothing."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class StreamFilter(admin.SimpleListFilter):
    """The streams are known: no need to ask the table for them."""

    title = parameter_name = "stream"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(stream.name, stream.name) for stream in get_registered_streams()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(stream=self.value()) if self.value() else queryset


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin):
    list_display = ("id", "event_seq", "stream", "first_id", "last_id", "row_count", "digest")
    list_filter = (StreamFilter,)
    search_fields = ("id", "event_id")
    search_help_text = "The seal's number, or that of its event"
    ordering = ("-id",)
    # The event may be in a detached segment.
    fields = ("event_seq", "stream", "ranges", "row_count", "digest", "columns", "horizon")
    readonly_fields = fields

    @admin.display(description="event")
    def event_seq(self, seal: Seal) -> int:
        return seal.event_id


@admin.register(AuditHead)
class AuditHeadAdmin(ReadOnlyAdmin):
    list_display = ("seq", "hash", "occurred_at")


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    list_display = ("id", "at", "seq", "hash", "reason")
    ordering = ("-id",)


@admin.register(CheckpointSink)
class CheckpointSinkAdmin(ReadOnlyAdmin):
    list_display = ("name", "delivered", "delivered_at", "failing_since", "error")
    list_select_related = ("delivered",)
    ordering = ("name",)


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    list_display = ("at", "is_whole", "events", "head_seq", "unanchored_since", "first_bad_seq", "why")
    ordering = ("-id",)


@admin.register(Segment)
class SegmentAdmin(ReadOnlyAdmin):
    list_display = ("first_seq", "last_seq", "last_hash", "closed_at", "detachment")
    list_select_related = ("detachment",)
    ordering = ("-id",)


@admin.register(Detachment)
class DetachmentAdmin(ReadOnlyAdmin):
    list_display = ("segment", "export_sha256", "event_seq", "at")
    list_select_related = ("segment",)
    ordering = ("-id",)
