"""Publishes wake-ups after their jobs are committed. The row is the truth; a wake-up only shortens workers' waits."""

import queue
import threading
from collections.abc import Sequence

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from models import wake
from models.wake import WakeUp

log = structlog.get_logger("heldout.api")

# Wake-ups kept while the broker is unreachable. The reconciler publishes those that do not fit again.
MAX_WAITING_WAKE_UPS = 10_000


class Publisher:
    """Publishes from its own thread, so that no request waits for a broker."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("heldout", broker=broker_url)
        self._app.conf.update(
            task_ignore_result=True,
            broker_connection_retry=False,
            broker_connection_timeout=wake.BROKER_TIMEOUT_S,
            broker_transport_options=wake.BROKER_TIMEOUTS,
        )
        self._waiting: queue.Queue[WakeUp | None] = queue.Queue(MAX_WAITING_WAKE_UPS)
        self._thread = threading.Thread(target=self._publish_all, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, wake_ups: Sequence[WakeUp]) -> None:
        """Publish wake-ups in the background. If that fails, the reconciler publishes them again."""
        for wake_up in wake_ups:
            try:
                self._waiting.put_nowait(wake_up)
            except queue.Full:
                log.warning("broker_unavailable", job_id=wake_up.job_id)

    def publish_again(self, wake_ups: Sequence[WakeUp]) -> None:
        """Publish wake-ups that may have been lost."""
        try:
            wake.send_again(self._app, wake_ups)
        except OperationalError:
            log.warning("broker_unavailable", wake_ups=len(wake_ups))

    def close(self) -> None:
        """Stop. Unpublished wake-ups are left to the reconcilers."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(2 * wake.BROKER_TIMEOUT_S)

    def _publish_all(self) -> None:
        while (wake_up := self._waiting.get()) is not None:
            try:
                wake.send(self._app, wake_up)
            except OperationalError:
                log.warning("broker_unavailable", job_id=wake_up.job_id)
            except Exception:
                # The thread must survive: without it, every job would wait for a reconciler.
                log.exception("wake_up_not_published", job_id=wake_up.job_id)
