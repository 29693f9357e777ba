"""The Celery driver: a message is only a wake-up, the database says what is to be done.

`celery -A worker.celery_app worker` reads the queue `train`, and `train.gpu` too where it finds a GPU.
"""

import os
import signal
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, signals
from celery.worker import state
from kombu import Queue
from kombu.exceptions import OperationalError

from heldout.errors import OperatorError
from heldout.service.start import read_settings_or_exit
from models import logs
from models import wake as wake_up
from models.wake import WakeUp
from worker.machine.devices import choose_slots, find_gpus
from worker.machine.parent import call_when_input_ends
from worker.supervision.worker import Worker

log = structlog.get_logger()

settings = read_settings_or_exit()
if settings.redis_url is None:
    raise SystemExit("heldout: HELDOUT_REDIS_URL (or REDIS_URL) is not set; a Celery worker needs its broker.")

_GPUS = len(find_gpus())

app = Celery("heldout", broker=settings.redis_url.get_secret_value())
app.conf.update(
    # Acknowledged on receipt: a message lost with its worker delays a job until the reconciler runs, but loses none.
    task_acks_late=False,
    task_ignore_result=True,
    result_backend=None,
    task_queues=[Queue(wake_up.QUEUE)] + ([Queue(wake_up.GPU_QUEUE)] if _GPUS else []),
    task_default_queue=wake_up.QUEUE,
    worker_pool="threads",
    worker_concurrency=choose_slots(settings.slots, _GPUS, settings.worker_slots),
    worker_prefetch_multiplier=1,
    # A worker with all slots busy leaves messages to the others.
    worker_disable_prefetch=True,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_heartbeat=0,
    broker_transport_options={
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
)

# How often Celery's loop runs while a task is being delivered and the broker is silent.
LOOP_INTERVAL_S = 0.1

_worker: Worker | None = None
_turning: Any = None  # the timer that runs the loop, if there is one


@app.task(name=wake_up.TASK)
def wake(job_id: str) -> None:
    """Claim and run the best jobs until none waits. The id is a hint for the log: another job may come first."""
    worker = _worker
    if worker is None or worker.stopping.is_set():
        return
    log.info("woken", job_id=job_id)
    while not worker.stopping.is_set() and (claimed := worker.claim()) is not None:
        worker.run(claimed)
        if worker.stopping.is_set():
            # The job may be back in the queue while another worker is idle.
            _announce([WakeUp.for_job(claimed.held.job_id, claimed.needs.gpus)])


@signals.setup_logging.connect
def _configure_no_logs(**_: Any) -> None:
    """Do nothing: with a receiver for this signal, Celery does not configure logging itself."""


@signals.celeryd_init.connect
def _configure_logs(**_: Any) -> None:
    """Runs before Celery logs anything: as root, Celery starts with a warning."""
    logs.configure(settings.log_level)
    logs.warn_of_unknown_settings()


@signals.worker_init.connect
def _start(**_: Any) -> None:
    global _worker
    _worker = Worker(settings, announce=_announce)
    if settings.stop_with_stdin:
        # Celery's own handler shuts the worker down cleanly.
        call_when_input_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        _worker.start()
    except OperatorError as error:
        # Celery logs exceptions of handlers and continues; this one ends the worker.
        raise SystemExit(f"heldout: {error.detail}") from error


@signals.worker_ready.connect
def _announce_waiting_jobs(**_: Any) -> None:
    """Jobs may have waited for this first worker, and their messages may be lost."""
    if _worker is not None:
        _announce([WakeUp("worker-ready", queue.name) for queue in app.conf.task_queues] * _worker.slots)


@signals.task_received.connect
def _turn_loop_until_idle(sender: Any, **_: Any) -> None:
    """Keep Celery's loop running while tasks are being delivered.

    With prefetching disabled, a worker that was busy asks for messages again the next time its loop runs. Nothing tells
    the loop that a slot is free, and on its own it runs once a second.
    """
    global _turning
    if sender.hub is not None and (_turning is None or _turning.canceled):
        _turning = sender.hub.call_repeatedly(LOOP_INTERVAL_S, _stop_turning_when_idle)


def _stop_turning_when_idle() -> None:
    """Stop the timer that runs the loop. Without tasks it would only waste time."""
    if not state.reserved_requests and _turning is not None:
        _turning.cancel()


@signals.worker_shutting_down.connect
def _release(**_: Any) -> None:
    if _worker is not None:
        _worker.stopping.set()


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    if _worker is not None:
        _worker.stopping.set()
        _worker.close()


def _announce(wake_ups: Sequence[WakeUp]) -> None:
    try:
        wake_up.send_again(app, wake_ups)
    except OperationalError:
        # The next round of a reconciler announces the jobs again.
        log.warning("broker_unavailable", wake_ups=len(wake_ups))
