"""The exceptions of a client: a class for each error code, and one for a service that does not answer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heldout import errors as expected
from heldout.errors import FieldError, HeldoutError

if TYPE_CHECKING:
    from heldout.views.model import ModelView


class ApiProblem(Exception):
    """The service refused a request or could not carry it out; the message says why and what to do.

    Each problem is also an instance of the class that `heldout.errors` has for its code, so `except JobNotFound` works.

    `code` is stable (see the reference of error codes); `errors` names the refused fields of the body.
    """

    def __init__(
        self,
        code: str,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        document: Mapping[str, Any] | None = None,
    ) -> None:
        Exception.__init__(self, detail or title)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.document = dict(document or {"code": code, "status": status, "title": title, "detail": detail})
        # Attributes of every class in `heldout.errors`.
        self.headers: dict[str, str] = {}
        self.request = self.document.get("request")
        self.choices = tuple(self.document.get("choices") or ())

    def __reduce__(self) -> tuple[Any, ...]:
        return make_problem, (self.code, self.status, self.title, self.detail, self.errors, self.document)


class NoService(Exception):
    """No Heldout service answers; the message says what was tried and what to do."""


class ModelRejected(Exception):
    """The service rejected a model; the message says why. `model` is its view."""

    def __init__(self, model: "ModelView") -> None:
        error = model.error
        super().__init__(f"{model.name} was rejected" + (f": {error.code}: {error.detail}" if error else "."))
        self.model = model


def _make_classes() -> dict[tuple[str, int], type[ApiProblem]]:
    """Derive from ApiProblem and each class of `heldout.errors`, by code and status."""
    known = [kind for kind in vars(expected).values() if isinstance(kind, type) and issubclass(kind, HeldoutError)]
    kinds = [kind for kind in known if kind is not HeldoutError]
    own = {"__init__": ApiProblem.__init__, "__module__": __name__}
    classes: dict[tuple[str, int], type[ApiProblem]] = {}
    # Several classes may share a code; the class named after the code comes first and represents it.
    for kind in sorted(kinds, key=lambda kind: kind.__name__ != "".join(map(str.title, kind.code.split("_")))):
        classes.setdefault((kind.code, kind.status), type(kind.__name__, (ApiProblem, kind), own))
    return classes


_CLASSES = _make_classes()


def make_problem(
    code: str,
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    document: Mapping[str, Any] | None = None,
) -> ApiProblem:
    """Make a problem of the class of its code; a plain ApiProblem if this release does not know the code."""
    return _CLASSES.get((code, status), ApiProblem)(code, status, title, detail, errors, document)
