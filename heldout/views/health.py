"""Whether the service answers."""

from typing import Literal

from heldout.views.base import View


class HealthView(View):
    """The service answers."""

    status: Literal["ok"]
