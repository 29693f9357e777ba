"""A request that the service names, for clients to send."""

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
