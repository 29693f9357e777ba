"""One attempt at work that a process does in one go: starts it, follows it, settles the job by what it says."""

import time
from abc import abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import structlog

from heldout.lifecycle.job import FailureCode
from heldout.work.kinds import EvaluateSpec, ExportSpec, SuspectSpec
from worker.messages import AnyAssignment, Failed, FromTraining
from worker.supervision.attempt import Attempt
from worker.supervision.processes import ProcessDied, TrainingProcess

log = structlog.get_logger()

Computed = TypeVar("Computed", bound=SuspectSpec | EvaluateSpec | ExportSpec)


class CannotBegin(Exception):
    """Something is missing without which the process need not be started; another attempt would lack it too."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ModelGone(CannotBegin):
    """A job has no stored model."""

    def __init__(self, job_id: str) -> None:
        super().__init__(FailureCode.MODEL_UNAVAILABLE, f"The model of {job_id} is no longer stored.")


class ProcessAttempt(Attempt[Computed]):
    """A process of the training's own room computes it."""

    # How many cores the process computes on.
    threads: int

    @abstractmethod
    def assignment(self, dataset: Path) -> AnyAssignment:
        """What the process is to do. Fetches into `folder` what it needs.

        Raises:
            CannotBegin, and what `AttemptFiles` does.
        """

    @abstractmethod
    def settle(self, message: FromTraining) -> bool:
        """End the job by what the process says; False where that is no result."""

    def work(self, in_use: ExitStack) -> None:
        try:
            dataset = self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context)
            assignment = self.assignment(dataset)
            self.watch.begin()
            process = TrainingProcess(assignment, self.folder)
            in_use.callback(process.kill)
            self._follow(process)
        except CannotBegin as missing:
            self.lease.fail(missing.code, missing.detail)
        except ProcessDied as died:
            self.settle_dead(died, died.exit_code)

    def _follow(self, process: TrainingProcess) -> None:
        self.cores.pin_process(process.pid, self.threads)
        while True:
            self.look_after(process.pid, out_of_time=time.monotonic() - self.began >= self.spec.max_runtime_s)
            message = process.receive(0.1)
            if isinstance(message, Failed):
                log.warning("process_failed", code=message.code.value, lines=process.last_lines())
                self.lease.fail(message.code, message.detail)
                return
            if message is not None and self.settle(message):
                return
