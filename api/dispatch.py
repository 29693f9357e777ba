"""Telling workers of a new job, once its row is committed. The row is the truth; this only saves them a wait."""

from typing import Protocol


class Publisher(Protocol):
    """Something that can wake a worker. It may fail: the reconciler publishes again what nobody took."""

    def publish(self, job_id: str, device: str) -> None:
        """Say that this job waits, to workers that have such a device (`auto`, `cpu`, `gpu`)."""


class NothingToPublish:
    """The embedded service: its worker looks at the database by itself, twice a second."""

    def publish(self, job_id: str, device: str) -> None:
        pass
