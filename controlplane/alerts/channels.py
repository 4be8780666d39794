"""The channels of ALERT_URLS: known by fingerprint, because their addresses hold secrets."""

import hashlib
import logging
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings

from controlplane.audit.redaction import REDACTED, redact_text

CONNECT_SECONDS, READ_SECONDS = 3.0, 5.0
LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One place where alerts go. `url` is never shown, stored or logged."""

    fingerprint: str
    url: str

    def __repr__(self) -> str:
        return f"Channel({self.fingerprint})"


def get_channels() -> tuple[Channel, ...]:
    """The channels that hear everything, in order, without repetitions."""
    return _list_channels(settings.ALERT_URLS)


def get_every_channel() -> tuple[Channel, ...]:
    """The channels of both lines: those that hear everything, then those that hear what was not heard."""
    return _list_channels((*settings.ALERT_URLS, *settings.ALERT_ESCALATION_URLS))


def _list_channels(urls: Iterable[str]) -> tuple[Channel, ...]:
    return tuple(Channel(fingerprint=fingerprint_of(url), url=url) for url in dict.fromkeys(urls))


def fingerprint_of(url: str) -> str:
    """Return the scheme and 12 hex digits: enough to tell channels apart."""
    scheme = url.partition("://")[0].lower() if "://" in url else "url"
    return f"{scheme[:40]}:{hashlib.sha256(url.encode()).hexdigest()[:12]}"


class _Said(logging.Handler):
    """Collects what the library says in this thread: of another channel it must not even be known."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


# Its first use loads every service it knows, and the filter of warnings belongs to the whole process.
_loading = threading.Lock()


def send(channel: Channel, *, title: str, text: str, severity: str) -> str:
    """Hand a message to the channel; returns "" when it was accepted, else why not, without secrets."""
    import apprise

    target = apprise.Apprise()
    said, log = _Said(), logging.getLogger("apprise")
    log.addHandler(said)
    try:
        with _loading, warnings.catch_warnings():
            # One of the services looks for a module that Python 3.13 has dropped.
            warnings.simplefilter("ignore", DeprecationWarning)
            is_known = target.add(_with_deadlines(channel.url))
        if not is_known:
            return "the address is not understood; see the notification library's list of services"
        kind = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}.get(
            severity, apprise.NotifyType.INFO
        )
        if target.notify(body=text, title=title, notify_type=kind):
            return ""
    finally:
        log.removeHandler(said)
    return without_secrets(" ".join(" ".join(said.lines).split()) or "not accepted", channel.url)


def _with_deadlines(url: str) -> str:
    """A dead channel must not hold up the others."""
    if re.search(r"[?&](cto|rto)=", url):
        return url
    return f"{url}{'&' if '?' in url else '?'}cto={CONNECT_SECONDS}&rto={READ_SECONDS}"


def without_secrets(text: str, url: str) -> str:
    """Remove every part of the address but the scheme and the host's name."""
    rest = url.partition("://")[2]
    parts = {part for part in re.split(r"[/?&=:@]", rest) if len(part) >= 4}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, REDACTED)
    return redact_text(text)[:LONGEST_ERROR]
