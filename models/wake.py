"""The wake-up: its task, its queues, and when one is repeated. The same for the API and the workers.

Celery itself is imported by its two users alone, which pass their app in.
"""

from collections.abc import Sequence
from typing import Any

TASK = "heldout.wake"
# A broker that accepts and never answers is given up after this: whoever publishes has other things to do.
BROKER_TIMEOUT_S = 1.0
IMPATIENT = {"socket_connect_timeout": BROKER_TIMEOUT_S, "socket_timeout": BROKER_TIMEOUT_S, "max_retries": 0}
TRAIN, TRAIN_GPU = "train", "train.gpu"


def queue_for(device: str) -> str:
    """The queue that the workers with such a device read."""
    return TRAIN_GPU if device == "gpu" else TRAIN


def send(app: Any, job_id: str, device: str, connection: Any = None) -> None:
    """Publish a wake-up, through the app's own connections unless one is given.

    Raises kombu's OperationalError if the broker does not take it.
    """
    app.send_task(TASK, args=[job_id], queue=queue_for(device), retry=False, ignore_result=True, connection=connection)


def send_again(app: Any, forgotten: Sequence[tuple[str, str]]) -> None:
    """Publish wake-ups for jobs whose messages may be gone, unless their queue still holds some.

    A worker that takes one message goes on until nothing waits; repeating them while all workers are busy would only
    fill the broker. Raises kombu's OperationalError.
    """
    empty: dict[str, bool] = {}
    # A connection of its own: a worker's others wait for their broker as long as it takes.
    with app.connection_for_write(transport_options=IMPATIENT, connect_timeout=BROKER_TIMEOUT_S) as connection:
        for job_id, device in forgotten:
            name = queue_for(device)
            if name not in empty:
                empty[name] = connection.default_channel.queue_declare(name).message_count == 0
            if empty[name]:
                send(app, job_id, device, connection)
