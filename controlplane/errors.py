"""Anticipated refusals.

DomainError
 ├── NotFound            the thing named does not exist
 ├── NotPermitted        the actor may not do this
 ├── InvalidInput        a value is malformed; names the file, line or field
 ├── Conflict            the state changed, or the action was already done
 └── Unavailable         a fact needed for the answer cannot be had now

Apps subclass these beside the function that raises them. `code` is stable and is what
outsiders match on; the text is for people.
"""


class DomainError(Exception):
    """An anticipated refusal with a stable code."""

    code = "refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class NotFound(DomainError):
    code = "not_found"


class NotPermitted(DomainError):
    code = "not_permitted"


class InvalidInput(DomainError):
    code = "invalid_input"


class Conflict(DomainError):
    code = "conflict"


class Unavailable(DomainError):
    code = "unavailable"
