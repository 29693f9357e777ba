"""Follows jobs: carries what is new about each to a display, once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.cli.progress import Display

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.event import EventView
    from heldout.views.job import JobView
    from heldout.views.metrics import EpochView


class Follower:
    """Remembers what of one job has been shown."""

    def __init__(self, client: Client, display: Display) -> None:
        self._client = client
        self._display = display
        self._event = 0
        self._epoch = 0

    def show(self, job: JobView) -> None:
        """Show what has happened since the last call, each epoch where its event stands among the others."""
        self._display.job(job)
        events = list(self._client.events(job.id, after=self._event))
        epochs = self._measured(job, events)
        for event in events:
            self._event = event.id
            self._display.event(job, event)
            if event.type == "job.started":
                # A further attempt may measure epochs again, from the one on that it starts with.
                self._epoch = min(self._epoch, job.progress.epoch)
            elif event.type == "job.epoch":
                self._show_epochs(job, epochs, up_to=int(event.data.get("epoch") or self._epoch + 1))
        self._show_epochs(job, epochs, up_to=job.progress.epoch)

    def _measured(self, job: JobView, events: list[EventView]) -> list[EpochView]:
        told = any(event.type == "job.epoch" for event in events)
        return self._client.metrics(job.id).epochs if told or job.progress.epoch > self._epoch else []

    def _show_epochs(self, job: JobView, epochs: list[EpochView], up_to: int) -> None:
        for epoch in epochs:
            if self._epoch < epoch.epoch <= up_to:
                self._epoch = epoch.epoch
                self._display.epoch(job, epoch)


def follow(client: Client, job_id: str, display: Display) -> JobView:
    """Show a job until it has ended, and give it back as it is then."""
    follower = Follower(client, display)
    with display:
        for job in client.watch(job_id):
            follower.show(job)
    return job
