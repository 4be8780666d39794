"""API keys from the environment: PREFIX_API_KEY and PREFIX_API_SECRET, or the same with __ACCOUNT.

Each may also be NAME_FILE. A key never leaves this module but in the hands of the client; what is
shown is its fingerprint.
"""

import hashlib
import os
from dataclasses import dataclass, field

from controlplane.env import SettingError, env_str
from trading.venues.gateway import Cause, VenueError


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """A key pair; neither half shows in its representation."""

    key: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """First 8 hex digits of the SHA-256 of the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:8]

    def redact(self, text: str) -> str:
        """The text without either half, should a venue echo one."""
        for half, name in ((self.key, "[key]"), (self.secret, "[secret]")):
            text = text.replace(half, name) if half else text
        return text


def read_keys(*, prefix: str, account: str) -> ApiKeys:
    """The account's own pair if either half of it is set, else the desk's.

    Raises VenueError naming what is missing: a pair is never mixed from two sources.
    """
    suffix = f"__{account.upper().replace('-', '_')}"
    key_name, secret_name = f"{prefix}_API_KEY", f"{prefix}_API_SECRET"
    if any(_is_set(name + suffix) for name in (key_name, secret_name)):
        key_name, secret_name = key_name + suffix, secret_name + suffix
    return ApiKeys(key=_read(key_name, account), secret=_read(secret_name, account))


def list_key_accounts(*, prefix: str, default: str) -> tuple[str, ...]:
    """An account for every different pair of keys in the environment, by `read_keys`' names.

    The desk's own pair goes by the name `default`, also where there is no pair at all: then whoever
    reads it learns what is missing.
    """
    start = f"{prefix}_API_KEY__"
    named = {name.removeprefix(start).removesuffix("_FILE") for name in os.environ if name.startswith(start)}
    accounts = sorted(name.lower().replace("_", "-") for name in named if _is_set(start + name))
    if not accounts or _is_set(f"{prefix}_API_KEY"):
        accounts.append(default)
    found: dict[str, str] = {}
    for account in accounts:
        try:
            found.setdefault(read_keys(prefix=prefix, account=account).fingerprint, account)
        except VenueError:
            found[account] = account
    return tuple(found.values())


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _read(name: str, account: str) -> str:
    try:
        value = env_str(name, "").strip()
    except SettingError as error:
        raise VenueError(
            f"account {account}: {error}", cause=Cause.AUTH, code="venue_keys_missing"
        ) from error
    if not value:
        raise VenueError(
            f"account {account}: {name} is not set (nor {name}_FILE)",
            cause=Cause.AUTH,
            code="venue_keys_missing",
        )
    return value
