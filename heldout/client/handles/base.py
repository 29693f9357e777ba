"""What handles of jobs and studies share: a client, and what was last seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from heldout.client.methods import Methods

if TYPE_CHECKING:
    from heldout.views.job import JobView
    from heldout.views.study import StudyView

Seen = TypeVar("Seen", "JobView", "StudyView")


class Handle(Generic[Seen]):
    """`view` is the job or the study as it was last seen; `refresh`, `wait` and `follow` see it anew."""

    def __init__(self, client: Methods, view: Seen) -> None:
        self._client = client
        self.view: Seen = view

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def status(self) -> str:
        """As last seen."""
        return self.view.status
