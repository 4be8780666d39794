"""The channels of ALERT_URLS: known by fingerprint, because their addresses hold secrets."""

import hashlib
import logging
import re
import warnings
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
    """Return the configured channels in order, without repetitions."""
    return tuple(
        Channel(fingerprint=fingerprint_of(url), url=url) for url in dict.fromkeys(settings.ALERT_URLS)
    )


def fingerprint_of(url: str) -> str:
    """Return the scheme and 12 hex digits: enough to tell channels apart."""
    scheme = url.partition("://")[0].lower() if "://" in url else "url"
    return f"{scheme[:40]}:{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def send(channel: Channel, *, title: str, text: str, severity: str) -> str:
    """Hand a message to the channel; returns "" when it was accepted, else why not, without secrets."""
    import apprise

    target = apprise.Apprise()
    capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with capture as log:
        with warnings.catch_warnings():
            # Its first use loads every service it knows; one looks for a module that Python 3.13 has dropped.
            warnings.simplefilter("ignore", DeprecationWarning)
            is_known = target.add(_with_deadlines(channel.url))
        if not is_known:
            return "the address is not understood; see the notification library's list of services"
        kind = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}.get(
            severity, apprise.NotifyType.INFO
        )
        if target.notify(body=text, title=title, notify_type=kind):
            return ""
        said = " ".join(log.getvalue().split())
    return _without_secrets(said or "not accepted", channel.url)


def _with_deadlines(url: str) -> str:
    """A dead channel must not hold up the others."""
    if re.search(r"[?&](cto|rto)=", url):
        return url
    return f"{url}{'&' if '?' in url else '?'}cto={CONNECT_SECONDS}&rto={READ_SECONDS}"


def _without_secrets(text: str, url: str) -> str:
    """Remove every part of the address but the scheme and the host's name."""
    rest = url.partition("://")[2]
    parts = {part for part in re.split(r"[/?&=:@]", rest) if len(part) >= 4}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, REDACTED)
    return redact_text(text)[:LONGEST_ERROR]
