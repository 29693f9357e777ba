"""Wake-ups: messages through the broker that tell workers about waiting jobs.

Used by the API and the workers. Only these two import Celery, and pass their app in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.orm import Session

TASK = "heldout.wake"
# The queue of all workers, and the queue of workers with GPUs.
QUEUE, GPU_QUEUE = "train", "train.gpu"
# How long to wait for a broker that accepts connections but never answers.
BROKER_TIMEOUT_S = 1.0
NOTED = "wake_ups"  # the key in a session's `info`
BROKER_TIMEOUTS = {"socket_connect_timeout": BROKER_TIMEOUT_S, "socket_timeout": BROKER_TIMEOUT_S, "max_retries": 0}


@dataclass(frozen=True)
class WakeUp:
    """A message about a waiting job, for a queue whose workers can claim it. Published after its row is committed."""

    job_id: str
    queue: str

    @classmethod
    def for_job(cls, job_id: str, gpus: int) -> Self:
        """Make the wake-up for a job that needs this many GPUs."""
        return cls(job_id, GPU_QUEUE if gpus else QUEUE)


def note(session: Session, job_id: str, gpus: int) -> None:
    """Note a job's wake-up. `Database.write` announces it after the commit."""
    session.info.setdefault(NOTED, []).append(WakeUp.for_job(job_id, gpus))


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
    """Publish wake-ups whose messages may be lost, but only on queues that are empty.

    A worker that receives one message claims jobs until none waits. Repeating messages while all workers are busy would
    only fill the broker. Raises kombu's OperationalError.
    """
    is_empty: dict[str, bool] = {}
    # A separate connection, because a worker's other connections wait for their broker indefinitely.
    with app.connection_for_write(transport_options=BROKER_TIMEOUTS, connect_timeout=BROKER_TIMEOUT_S) as connection:
        for wake_up in wake_ups:
            name = wake_up.queue
            if name not in is_empty:
                is_empty[name] = connection.default_channel.queue_declare(name).message_count == 0
            if is_empty[name]:
                send(app, wake_up, connection)
