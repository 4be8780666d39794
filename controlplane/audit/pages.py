"""What makes a list page as quick over a million rows as over a thousand.

No row is counted. A page begins after the last row of the one before (by key, never by offset), a search
finds identifiers by their indexes, and nothing is sorted by a column that no index orders.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Func, Model, QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

MOST_FOUND = 500
Lead = tuple[str, type[Model]]
"""The column that comes first in an index, and the few rows that it may name."""
BEFORE = "before"


class OlderPaginator(InfinitePaginator):  # type: ignore[misc]
    """Counts nothing; the page before and after are named by keys (see KeyChangeList)."""

    template_name = "desk/pagination_older.html"


class KeyChangeList(ChangeList):  # type: ignore[misc]
    """A list, newest first by key, that goes on `before` the last key of the page."""

    older = newest = ""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        given: dict[str, Any] = super().get_filters_params(params)
        for name in (BEFORE, *self.model_admin.own_parameters):
            given.pop(name, None)
        return given

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        rows = super().get_queryset(request, exclude_parameters)
        before = request.GET.get(BEFORE, "")
        if before.isascii() and before.isdigit() and len(before) < 19:
            rows = rows.filter(pk__lt=int(before))
        found: QuerySet[Model] = self.model_admin.narrow(request, rows)
        return found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        if len(rows) == self.list_per_page:
            self.older = self.get_query_string({BEFORE: rows[-1].pk}, remove=["p"])
        if request.GET.get(BEFORE):
            self.newest = self.get_query_string(remove=[BEFORE, "p"])


def find_by_key(
    rows: QuerySet[Model], fields: Iterable[str], text: str, leads: Mapping[str, Lead]
) -> QuerySet[Model]:
    """Narrow to the rows one of whose fields is the text; each is asked alone, so that its index serves."""
    found: set[object] = set()
    bare = rows.order_by()
    for field in fields:
        wanted: dict[str, object] = {field: text}
        if field in leads:
            column, owners = leads[field]
            wanted[f"{column}__in"] = list(owners._base_manager.values_list("pk", flat=True))
        try:
            found |= set(bare.filter(**wanted).values_list("pk", flat=True)[:MOST_FOUND])
        except (ValueError, ValidationError):
            continue  # The text is no value of that column: a word where it holds numbers.
    return rows.filter(pk__in=found)


def find_by_words(rows: QuerySet[Model], condition: Func) -> QuerySet[Model]:
    """Narrow to the rows that hold words: few are looked up by the index of words, many met on the way.

    The database takes a rare word for a common one, and would read the whole table by key to fill a page.
    """
    found = list(rows.order_by().filter(condition).values_list("pk", flat=True)[: MOST_FOUND + 1])
    return rows.filter(condition) if len(found) > MOST_FOUND else rows.filter(pk__in=found)
