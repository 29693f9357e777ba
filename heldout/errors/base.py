"""The base class of expected failures: a stable code, an HTTP status, a title, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One refused value: a JSON pointer (RFC 6901) into the request body, and the reason."""

    pointer: str
    detail: str


class HeldoutError(Exception):
    """Base of all expected failures; its text is shown to the caller."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init_subclass__(
        cls, *, code: str | None = None, status: int | None = None, title: str | None = None, **more: Any
    ) -> None:
        """Set what the class gives; it inherits the rest."""
        super().__init_subclass__(**more)
        cls.code, cls.status, cls.title = code or cls.code, status or cls.status, title or cls.title

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        request: Mapping[str, Any] | None = None,
        choices: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """pointer: the only value of the body that is refused, with `detail` as the reason. errors: refused values.

        request: `method`, `path` and `body` of a request that fixes the failure, if there is one.
        choices: possible next steps, each with `name`, `title` and such a `request`.
        """
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors) if pointer is None else (FieldError(pointer, detail),)
        self.headers = dict(headers or {})
        self.request = None if request is None else dict(request)
        self.choices = tuple(dict(choice) for choice in choices)
