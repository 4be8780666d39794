"""The closed set of action names.

An app names what it does in `audit_actions.py`: `ACTIONS = frozenset({"golive.activate", …})`.
For every action X the set also holds `X.denied`, written when an attempt is refused.
"""

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

from django.apps import apps

DENIED = ".denied"


class UnknownAction(Exception):
    """An action is recorded that no app has registered: a bug."""


@lru_cache(maxsize=1)
def get_registered_actions() -> frozenset[str]:
    """Return every registered action of the installed apps, without the derived denials."""
    names: set[str] = set()
    for config in apps.get_app_configs():
        module_name = f"{config.name}.audit_actions"
        if find_spec(module_name) is None:
            continue
        names |= import_module(module_name).ACTIONS
    return frozenset(names)


def require_registered(action: str) -> None:
    """Raise UnknownAction unless the name, or the name it denies, is registered."""
    if action.removesuffix(DENIED) not in get_registered_actions():
        raise UnknownAction(f"{action!r} is in no app's audit_actions.ACTIONS")
