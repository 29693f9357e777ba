"""Why a request was not carried out."""

from typing import Any

from pydantic import Field

from heldout.views.base import View


class RequestView(View):
    """A request that carries a remedy out; `body` is JSON."""

    method: str
    path: str
    body: dict[str, Any]


class ChoiceView(View):
    """One way on after a refusal."""

    name: str = Field(description="`show_images`, `fix` or `as_they_are`.")
    title: str = Field(description="For a button.")
    request: RequestView


class FieldErrorView(View):
    """One refused value of the request's body."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; empty for the whole body.")
    detail: str


class Problem(View):
    """Why a request was not carried out (RFC 9457). `code` is stable; the texts are not."""

    type: str = Field(description="A URI that stands for the code.")
    title: str
    status: int
    detail: str = Field(description="What was received, what was expected, and what to do.")
    code: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldErrorView]
    request: RequestView | None = Field(
        None, description="What to send first, where the service can fix what it refuses; absent elsewhere."
    )
    choices: list[ChoiceView] = Field([], description="Ways on, of which a person chooses one; absent without any.")
