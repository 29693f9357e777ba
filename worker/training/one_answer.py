"""A process that does one task on the CPU for its supervisor, and sends the result."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import tensorflow as tf

from heldout.lifecycle.job import FailureCode
from worker.messages import Failed, FromTraining
from worker.training.refusal import ModelRefused
from worker.training.runner import SupervisorGone, SupervisorPipe, begin_process


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
