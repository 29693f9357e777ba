"""How a process of this room works for its supervisor: it reports over a pipe, and may be asked to stop."""

import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import tensorflow as tf

from heldout.lifecycle.job import FailureCode
from worker.messages import Assignment, Failed, FromTraining, StopCause
from worker.training.model_files.refusal import ModelRefused

# How long a process waits for another job. Until then it holds memory that no job has reserved.
NEXT_JOB_WITHIN_S = 1.0


class SupervisorGone(Exception):
    """The supervisor has closed the pipe: it has ended, or has given up on this process."""


class SupervisorPipe:
    """Messages to the supervisor, and its requests to stop."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._requested: StopCause | None = None

    def send(self, message: FromTraining) -> None:
        try:
            self._pipe.send(message)
        except (OSError, EOFError) as error:
            raise SupervisorGone from error

    def requested_stop(self) -> StopCause | None:
        """Return the latest reason of a requested stop, without waiting."""
        try:
            message = self._pipe.recv() if self._pipe.poll() else None
        except (OSError, EOFError) as error:
            raise SupervisorGone from error
        if isinstance(message, StopCause):
            self._requested = message
        return self._requested

    def wait_for_next(self) -> Assignment | None:
        """Wait a moment for another job."""
        try:
            message = self._pipe.recv() if self._pipe.poll(NEXT_JOB_WITHIN_S) else None
        except (OSError, EOFError) as error:
            raise SupervisorGone from error
        return message if isinstance(message, Assignment) else None


def begin_process() -> None:
    """Set up a process that works for a supervisor: only the supervisor ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles the terminal's interrupt
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def answer_once(work: Callable[[], FromTraining], pipe: Connection, *, too_large: str, side_by_side: int = 1) -> None:
    """Do the task in this process, which does nothing else and ends afterwards. To stop it, kill it.

    Args:
        too_large: the subject of the message when memory runs out, such as `The images do`.
        side_by_side: how many operations run in parallel. Each has one thread, so that its bits do not depend on the
        number of cores.
    """
    begin_process()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(side_by_side)
    tf.config.set_visible_devices([], "GPU")
    with suppress(SupervisorGone):
        SupervisorPipe(pipe).send(_make_outcome(work, too_large))


def _make_outcome(work: Callable[[], FromTraining], too_large: str) -> FromTraining:
    try:
        return work()
    except (MemoryError, tf.errors.ResourceExhaustedError):
        traceback.print_exc()
        return Failed(FailureCode.OUT_OF_MEMORY, f"{too_large} not fit into memory.")
    except ModelRefused as refused:
        return Failed(FailureCode.MODEL_UNAVAILABLE, refused.detail)
    except Exception as error:  # noqa: BLE001 - any error must reach the supervisor
        traceback.print_exc()
        return Failed.of_a_fault(error)
