"""The process that trains one job: from its assignment to its last message."""

import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing.connection import Connection

import tensorflow as tf

from heldout.lifecycle.job import FailureCode, StopReason
from worker.machine.scratch import begin_output
from worker.messages import LOG_FILE, Alive, Assignment, Failed, Finished, FromTraining, StopCause, Stopped, Warned
from worker.training.choices import GpuUnavailable
from worker.training.engine.checkpoint import CheckpointDamaged, describe_fault
from worker.training.engine.training_policy import Diverged, StopRequested
from worker.training.exports.exported_model import export_kept
from worker.training.finalize import finish
from worker.training.model_files.refusal import ModelRefused
from worker.training.supervisor_pipe import SupervisorGone, SupervisorPipe, begin_process
from worker.training.trainer import Trainer
from worker.training.training_setup import CannotTrain, Prepared, prepare


def run(assignment: Assignment, pipe: Connection) -> None:
    """Train the assigned job, and then jobs that differ only in their seed, each as if it were the first."""
    begin_process()
    with suppress(SupervisorGone), ExitStack() as in_use:
        supervisor = SupervisorPipe(pipe)
        make = cache(lambda: prepare(assignment, supervisor.requested_stop, in_use))
        last = _make_final_message(assignment, supervisor, make)
        supervisor.send(last)
        while isinstance(last, Finished) and make().is_reusable and (another := supervisor.wait_for_next()):
            begin_output(another.scratch / LOG_FILE)
            supervisor.send(Alive())
            last = _make_final_message(another, supervisor, partial(make().begin_again, another))
            supervisor.send(last)


def _make_final_message(
    assignment: Assignment, supervisor: SupervisorPipe, make: Callable[[], Prepared]
) -> FromTraining:
    """Train, and turn success, stop or failure into the last message."""
    try:
        return _train(assignment, make(), supervisor.send, supervisor.requested_stop)
    except SupervisorGone:
        raise
    except CannotTrain as error:
        return error.last
    except (GpuUnavailable, CheckpointDamaged) as error:
        return Failed(FailureCode(error.code), error.detail)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        traceback.print_exc()
        where = "the GPU's" if assignment.machine.device == "gpu" else "this machine's"
        return Failed(
            FailureCode.OUT_OF_MEMORY,
            f"The training does not fit into {where} memory. Use a smaller batch_size or fewer filters.",
        )
    except ModelRefused as refused:
        return Failed(FailureCode.BACKBONE_UNAVAILABLE, refused.detail)
    except Exception as error:  # noqa: BLE001 - the supervisor must hear of it, whatever it is
        traceback.print_exc()
        return Failed.of_a_fault(error)


def _train(
    assignment: Assignment,
    prepared: Prepared,
    send: Callable[[FromTraining], None],
    requested_stop: Callable[[], StopCause | None],
) -> FromTraining:
    exported = prepared.exported
    send(prepared.started)
    trainer = prepared.make_trainer(
        assignment.spec, scratch=assignment.scratch, send=send, requested_stop=requested_stop
    )
    if assignment.start.checkpoint is not None:
        trainer.resume(assignment.start.checkpoint)
    reason: StopReason
    try:
        trainer.train()
        reason = StopReason.COMPLETED
        if trainer.ended_early:
            reason = StopReason.OVERFIT_GUARD if trainer.position.guard.stopped else StopReason.EARLY_STOPPED
    except StopRequested as stop:
        if stop.why is not StopCause.DEADLINE:
            stopped = _stop_training(trainer, send)
            if stop.why is StopCause.RELEASE or not trainer.position.kept:
                return stopped
            return replace(stopped, model=export_kept(trainer.get_trained_weights(), exported, assignment))
        reason = StopReason.DEADLINE
    except Diverged as error:
        return Failed(FailureCode.DIVERGED, str(error))
    return finish(
        trainer,
        reason,
        exported,
        prepared.data,
        assignment,
        send=send,
        is_cancelled=lambda: requested_stop() is StopCause.CANCEL,
    )


def _stop_training(trainer: Trainer, send: Callable[[FromTraining], None]) -> Stopped:
    """Write a checkpoint; if it fails, the next attempt starts from an older one."""
    if not trainer.started:
        return Stopped(None)
    try:
        file = trainer.write()
    except OSError as error:
        send(Warned(f"No checkpoint could be written at the stop ({describe_fault(error)})."))
        return Stopped(None)
    return Stopped(file, epoch=trainer.position.epoch - 1, step=trainer.position.step)
