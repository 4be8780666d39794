"""Follows every link of the admin, and says whether the database changed meanwhile."""

import re

from django.db import connection
from django.test import Client

LINK = re.compile(r'(?:href|hx-get)="([^"]+)"')
# Signing out is a POST, and these lead out of the admin or only sort what is shown anyway.
LEFT_OUT = re.compile(r"^(?!/admin/)|/logout/|/jsi18n/|[?&](o|e|_changelist_filters)=")
# A use of a session or a token is no change of the desk.
IGNORED_TABLES = {"django_session"}


def follow_links(client: Client, start: str) -> set[str]:
    """GET every address that can be reached, and of a page's queries (filters, pages) the first one."""
    seen, queue, asked = {start}, [start], set()
    while queue:
        address = queue.pop()
        path, _, query = address.partition("?")
        if query and path in asked:
            continue
        asked |= {path} if query else set()
        answer = client.get(address)
        assert answer.status_code in {200, 302, 403}, f"{address}: {answer.status_code}"
        text = answer.content.decode() if answer.status_code == 200 else ""
        for link in (match.replace("&amp;", "&") for match in LINK.findall(text)):
            address = link if not link.startswith("?") else answer.wsgi_request.path + link
            if address not in seen and not LEFT_OUT.search(address):
                seen.add(address)
                queue.append(address)
    return seen


def digest_of_database() -> dict[str, str]:
    """The digest of every table that holds rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        tables = [name for (name,) in cursor.fetchall() if name not in IGNORED_TABLES]
        parts = [
            f"SELECT '{name}', md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{name}\" t"
            for name in tables
        ]
        cursor.execute(" UNION ALL ".join(parts))
        return {name: digest for name, digest in cursor.fetchall() if digest is not None}
