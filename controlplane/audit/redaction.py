"""Takes secrets out of what is about to be hashed for ever.

Three nets: the values of configured secrets wherever they appear, text under a name that says
secret, and text shaped like a key. Digests (lower-case hex), ids and order ids pass.
"""

import os
import re
from collections.abc import Mapping, Set
from functools import lru_cache

from controlplane.env import SettingError, env_str

REDACTED = "[redacted]"
LONGEST_TEXT = 4_000

_SECRET_SETTING = re.compile(
    r"^(SECRET_KEY|AUDIT_SIGNING_KEY|[A-Z0-9]+_(API_KEY|API_SECRET|API_PASSPHRASE|PASSPHRASE))(__[A-Z0-9_]+)?(_FILE)?$"
)
_SECRET_NAME = re.compile(
    r"(^|[_-])(password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|signature|authorization"
    r"|cookie|otp|credentials?|token)$",
    re.IGNORECASE,
)
_SECRET_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)\b(?:bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s@]*(?=@)"),
    re.compile(r"(?i)(?<=[?&])(?:signature|token|key|secret|password)=[^&\s]+"),
    # 32 and more letters of both cases with digits among them: venue keys and secrets.
    re.compile(
        r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{32,}"
        r"(?![A-Za-z0-9])"
    ),
    # Upper-case hex of 32 digits: OKX secrets. Our own digests are lower case.
    re.compile(r"(?<![A-Za-z0-9])(?=[A-F0-9]*[A-F])[A-F0-9]{32,}(?![A-Za-z0-9])"),
)


def redact(value: object, name: str = "") -> object:
    """Return the value with secrets replaced and text made storable."""
    if isinstance(value, str):
        return REDACTED if value and _SECRET_NAME.search(name) else redact_text(value)
    if isinstance(value, Mapping):
        return {_key(key): redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | Set):
        return [redact(item, name) for item in value]
    return value


def redact_text(text: str) -> str:
    """Return the text without secrets, NULs and lone surrogates, cut at LONGEST_TEXT."""
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    for secret in configured_secrets():
        text = text.replace(secret, REDACTED)
    for shape in _SECRET_SHAPES:
        text = shape.sub(REDACTED, text)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… [cut, {len(text)} characters]"
    return text


@lru_cache(maxsize=1)
def configured_secrets() -> tuple[str, ...]:
    """Return the values of the secrets this process was configured with, longest first."""
    names = {name.removesuffix("_FILE") for name in os.environ if _SECRET_SETTING.match(name)}
    values: set[str] = set()
    for name in names:
        try:
            values.add(env_str(name))
        except SettingError:
            continue
    return tuple(sorted((value for value in values if len(value) >= 6), key=len, reverse=True))


def _key(key: object) -> object:
    return redact_text(key) if isinstance(key, str) else key
