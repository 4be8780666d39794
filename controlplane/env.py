"""Reads settings from the environment; a value may also come from the file named by NAME_FILE."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The value of DATABASE_URL for commands that need no database, such as `help`; never for a service.
NO_DATABASE = "none://"


class SettingError(Exception):
    """A setting is missing or malformed: the process must not start."""


def env_str(name: str, default: str | None = None) -> str:
    """Return NAME, else the content of the file NAME_FILE, else the default; raises SettingError.

    An empty value is none.
    """
    if value := os.environ.get(name):
        return value
    file_name = os.environ.get(f"{name}_FILE")
    if file_name:
        try:
            return Path(file_name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingError(f"{name}_FILE: cannot read {file_name}: {error.strerror}") from error
    if default is None:
        raise SettingError(f"{name} is not set (nor {name}_FILE)")
    return default


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def is_hex(text: str, *, digits: int) -> bool:
    return re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text, re.ASCII) is not None


def env_bool(name: str, default: bool) -> bool:
    value = env_str(name, str(default)).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name}: expected true or false, found {value!r}")


def env_int(name: str, default: int) -> int:
    value = env_str(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise SettingError(f"{name}: expected a whole number, found {value!r}") from None


def env_choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = env_str(name, default)
    if value not in choices:
        raise SettingError(f"{name}: expected one of {', '.join(choices)}, found {value!r}")
    return value


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_rate(name: str, default: str) -> tuple[int, int]:
    """NAME as NUMBER/s, NUMBER/min or NUMBER/h: (how many, in how many seconds)."""
    value = env_str(name, default)
    found = re.fullmatch(r"([1-9][0-9]{0,8})/(s|min|h)", value, re.ASCII)
    if found is None:
        raise SettingError(f"{name}: expected a rate like 600/min, found {value!r}")
    return int(found[1]), {"s": 1, "min": 60, "h": 3600}[found[2]]


def database_from_url(name: str, url: str) -> dict[str, object]:
    """Django's DATABASES entry for postgres://user:password@host:port/name?host=/socket/dir."""
    if url == NO_DATABASE:
        return {"ENGINE": "django.db.backends.dummy"}
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingError(f"{name}: only postgres:// is supported, found {parts.scheme or 'nothing'}://")
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    database = unquote(parts.path.lstrip("/"))
    if not database:
        raise SettingError(f"{name}: names no database")
    try:
        port = str(parts.port or query.get("port", ""))
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from None
    options: dict[str, object] = {"connect_timeout": 5, "application_name": "controlplane"}
    if "sslmode" in query:
        options["sslmode"] = query["sslmode"]
    return {
        "ENGINE": "django_prometheus.db.backends.postgresql",
        "NAME": database,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.get("host", parts.hostname or "")),
        "PORT": port,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": options,
    }


def broker_from_url(name: str, url: str) -> str:
    """Celery's spelling of a Redis address: a socket has another scheme and another word for its database."""
    scheme = urlsplit(url).scheme
    if scheme == "unix":
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)
    if scheme not in {"redis", "rediss"}:
        raise SettingError(f"{name}: expected redis://, rediss:// or unix://, found {scheme or 'nothing'}://")
    return url


def pairs_from_list(name: str) -> dict[str, str]:
    """NAME as key=value,key=value."""
    pairs = [part.partition("=") for part in env_list(name)]
    if any(not key or not value for key, _, value in pairs):
        raise SettingError(f"{name}: expected name=value,name=value")
    return {key: value for key, _, value in pairs}
