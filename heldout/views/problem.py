"""Problems: why a request failed."""

from typing import Any

from pydantic import Field

from heldout.views.base import View


class RequestView(View):
    """A request that applies a fix; `body` is JSON."""

    method: str
    path: str
    body: dict[str, Any]


class ChoiceView(View):
    """One possible next step after a refusal."""

    name: str = Field(description="`show_images`, `fix` or `as_they_are`.")
    title: str = Field(description="Label for a button.")
    request: RequestView


class FieldErrorView(View):
    """One refused value of the request body."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; empty for the whole body.")
    detail: str


class Problem(View):
    """Why a request failed (RFC 9457). `code` is stable; the texts are not."""

    type: str = Field(description="A URI that identifies the code.")
    title: str
    status: int
    detail: str = Field(description="What was received, what was expected, and what to do.")
    code: str
    instance: str = Field(description="The path of the request.")
    errors: list[FieldErrorView]
    request: RequestView | None = Field(
        None, description="A request that fixes the reason for the refusal; absent if there is none."
    )
    choices: list[ChoiceView] = Field([], description="Possible next steps for a person to choose from, if any.")
