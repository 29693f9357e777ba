"""Wake-ups: how workers hear through the broker that a job waits, on which queue, and when that is repeated.

For the API and the workers alike. Celery itself is imported by its two users alone, which pass their app in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.orm import Session

TASK = "heldout.wake"
# The queue that all workers read, and the one that only workers with GPUs read.
QUEUE, GPU_QUEUE = "train", "train.gpu"
# A broker that accepts connections and never answers is given up after this: the publisher has other things to do.
BROKER_TIMEOUT_S = 1.0
_NOTED = "wake_ups"
BROKER_TIMEOUTS = {"socket_connect_timeout": BROKER_TIMEOUT_S, "socket_timeout": BROKER_TIMEOUT_S, "max_retries": 0}


@dataclass(frozen=True)
class WakeUp:
    """A message that a job waits, for the queue whose workers can claim it. Published once its row is committed."""

    job_id: str
    queue: str

    @classmethod
    def for_job(cls, job_id: str, gpus: int) -> Self:
        """The wake-up for a job that needs so many GPUs, as its row says."""
        return cls(job_id, GPU_QUEUE if gpus else QUEUE)


def note(session: Session, job_id: str, gpus: int) -> None:
    """Keep a job's wake-up until the session's transaction has committed: `Database.write` then hands it on."""
    session.info.setdefault(_NOTED, []).append(WakeUp.for_job(job_id, gpus))


def get_noted(session: Session) -> Sequence[WakeUp]:
    """The wake-ups that were noted."""
    wake_ups: list[WakeUp] = session.info.get(_NOTED, [])
    return wake_ups


def send(app: Any, wake_up: WakeUp, connection: Any = None) -> None:
    """Publish a wake-up, through the app's own connections unless one is given.

    Raises kombu's OperationalError if the broker does not take it.
    """
    app.send_task(
        TASK,
        args=[wake_up.job_id],
        queue=wake_up.queue,
        retry=False,
        ignore_result=True,
        connection=connection,
    )


def send_again(app: Any, wake_ups: Sequence[WakeUp]) -> None:
    """Publish wake-ups of jobs whose messages may be gone, on those queues alone that hold no message.

    A worker that takes one message goes on until nothing waits; repeating them while all workers are busy would only
    fill the broker. Raises kombu's OperationalError.
    """
    is_empty: dict[str, bool] = {}
    # A connection of its own: a worker's others wait for their broker as long as it takes.
    with app.connection_for_write(transport_options=BROKER_TIMEOUTS, connect_timeout=BROKER_TIMEOUT_S) as connection:
        for wake_up in wake_ups:
            name = wake_up.queue
            if name not in is_empty:
                is_empty[name] = connection.default_channel.queue_declare(name).message_count == 0
            if is_empty[name]:
                send(app, wake_up, connection)
