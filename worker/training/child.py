"""Entry point of the process that trains one job; light to import, so that the supervisor never loads TensorFlow."""

import os
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from analysis.scheduling.cost import Precision
from worker.machine.memory import raise_oom_score
from worker.machine.parent import end_with_supervisor
from worker.machine.scratch import begin_output
from worker.messages import (
    Alive,
    AnyAssignment,
    Assignment,
    EvaluateAssignment,
    ExportAssignment,
    FeaturesAssignment,
    HeatmapAssignment,
    SuspectAssignment,
)

# The modules whose `run` does what is assigned.
_WORK: dict[type[AnyAssignment], str] = {
    Assignment: "worker.training.runner",
    FeaturesAssignment: "worker.training.looks.run",
    SuspectAssignment: "worker.training.suspects.run",
    EvaluateAssignment: "worker.training.measuring.stored_models",
    ExportAssignment: "worker.training.exports.run",
    HeatmapAssignment: "worker.training.measuring.heatmap",
}


def main(pipe: Connection, assignment: AnyAssignment, log: str) -> None:
    """Redirect output to the file `log`, report that the process is alive, then do the assigned work.

    The folder of `log` belongs to the attempt and is removed with it. Temporary files are created there, too: Keras
    makes some for each model that it saves, and leaves them behind if it is killed or the disk is full.
    """
    end_with_supervisor()
    begin_output(Path(log))
    raise_oom_score()
    pipe.send(Alive())
    if isinstance(assignment, Assignment) and assignment.machine.gpus:
        # Read by CUDA when TensorFlow first looks for devices: no other job's GPU is touched.
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(assignment.machine.gpus)
    import worker.training.preload  # noqa: F401 - a process that was not forked chooses the backend of Keras here

    import_module(_WORK[type(assignment)]).run(assignment, pipe)


def warm_up() -> None:
    """Do nothing: the first fork from the fork server only starts once TensorFlow is imported there."""


def measure(pipe: Connection, towers: Literal[1, 2], precision: Precision) -> None:
    """Measure how fast this machine trains, and print nothing."""
    end_with_supervisor()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    from worker.training.measuring.machine_speed import measure

    measure(pipe, towers, precision)
