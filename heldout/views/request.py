"""A request that the service names, for clients to send."""

from typing import Any

from heldout.views.base import View


class RequestView(View):
    """A request that carries a remedy out; `body` is JSON."""

    method: str
    path: str
    body: dict[str, Any]
