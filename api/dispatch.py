"""Telling workers of a new job, once its row is committed. The row is the truth; this only saves them a wait."""

import queue
import threading
from collections.abc import Sequence
from typing import Protocol

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from heldout.settings import Settings
from models import wake

log = structlog.get_logger("heldout.api")

# What a broker that is away makes pile up; the reconciler announces what does not fit.
PENDING = 10_000


class Publisher(Protocol):
    """Something that can wake a worker. It may fail: the reconciler publishes again what nobody took."""

    def publish(self, job_id: str, device: str) -> None:
        """Say that this job waits, to workers that have such a device (`auto`, `cpu`, `gpu`)."""

    def publish_again(self, forgotten: Sequence[tuple[str, str]]) -> None:
        """Say it again for jobs, with their device, whose wake-ups may be gone."""

    def close(self) -> None:
        """Stop; what is still to be said is left to the reconcilers."""


class NothingToPublish:
    """The embedded service: its worker looks at the database by itself, some ten times a second."""

    def publish(self, job_id: str, device: str) -> None:
        pass

    def publish_again(self, forgotten: Sequence[tuple[str, str]]) -> None:
        pass

    def close(self) -> None:
        pass


class CeleryPublisher:
    """Publishes from a thread of its own, so that no request waits for a broker."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("heldout", broker=broker_url)
        self._app.conf.update(
            task_ignore_result=True,
            broker_connection_retry=False,
            broker_connection_timeout=wake.BROKER_TIMEOUT_S,
            broker_transport_options=wake.IMPATIENT,
        )
        self._waiting: queue.Queue[tuple[str, str] | None] = queue.Queue(PENDING)
        self._thread = threading.Thread(target=self._publish_all, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, job_id: str, device: str) -> None:
        try:
            self._waiting.put_nowait((job_id, device))
        except queue.Full:
            log.warning("broker_unavailable", job_id=job_id)

    def publish_again(self, forgotten: Sequence[tuple[str, str]]) -> None:
        try:
            wake.send_again(self._app, forgotten)
        except OperationalError:
            log.warning("broker_unavailable", forgotten=len(forgotten))

    def close(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(2 * wake.BROKER_TIMEOUT_S)

    def _publish_all(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            job_id, device = waiting
            try:
                wake.send(self._app, job_id, device)
            except OperationalError:
                log.warning("broker_unavailable", job_id=job_id)
            except Exception:
                # Without this thread every job would wait for a reconciler.
                log.exception("wake_up_not_published", job_id=job_id)


def publisher_for(settings: Settings) -> Publisher:
    """Celery where a broker is named, else nothing."""
    if settings.redis_url is None:
        return NothingToPublish()
    return CeleryPublisher(settings.redis_url.get_secret_value())
