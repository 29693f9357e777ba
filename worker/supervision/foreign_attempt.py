"""One attempt at reading an uploaded model: fetches its file, follows the bounded process, settles the job."""

import time
from abc import abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import structlog

from heldout.lifecycle.job import FailureCode
from heldout.work.kinds import CheckModelSpec, MeasureSpec
from worker.machine.bounds import GIB
from worker.supervision.attempt import Attempt
from worker.supervision.foreign_process import ForeignProcess, ForeignProcessDied

log = structlog.get_logger()

# Of TensorFlow, Keras and onnxruntime themselves.
_PROGRAMS_BYTES = 3 * GIB
# Times the file's size: as it is read, as its weights, and as what is computed with them.
_COPIES = 6

OfModel = TypeVar("OfModel", bound=CheckModelSpec | MeasureSpec)


class ForeignAttempt(Attempt[OfModel]):
    """A bounded process reads the file of a stranger."""

    remedy = "Upload a smaller model."

    @abstractmethod
    def start(self, model: Path, memory_bytes: int, in_use: ExitStack) -> ForeignProcess:
        """Start the process on the model's file.

        Args:
            memory_bytes: that it may have for the model and the programs that read it.
            in_use: keeps what the process reads.
        Raises:
            What `AttemptFiles` does.
        """

    @abstractmethod
    def settle(self, kind: str, content: Any) -> None:
        """End the job by the answer of the process. Raises ValueError where that is none."""

    @property
    def written(self) -> Path:
        """What the process may write."""
        return self.folder / "written"

    def work(self, in_use: ExitStack) -> None:
        model = self.folder / "file.keras"
        self.files.fetch(self.spec.key, model)
        memory_bytes = _PROGRAMS_BYTES + _COPIES * model.stat().st_size
        self.watch.begin()
        with self.start(model, memory_bytes, in_use) as process:
            self._follow(process)

    def _follow(self, process: ForeignProcess) -> None:
        self.cores.pin_process(process.pid, 1)
        ends_at = time.monotonic() + self.spec.max_runtime_s
        while True:
            self.look_after(process.pid, out_of_time=time.monotonic() >= ends_at)
            try:
                answer = process.receive(0.1)
                if answer is None:
                    continue
                [(kind, content)] = answer.items()
                if kind == "internal":
                    log.warning("model_process_failed", error=str(content)[:80], lines=process.last_lines())
                    self.lease.fail(FailureCode.INTERNAL, "Reading the model broke on our side.")
                    return
                self.settle(kind, content)
            except ForeignProcessDied as died:
                log.warning("model_process_died", lines=process.last_lines())
                self.settle_dead(died, died.exit_code)
            except ValueError:
                log.warning("model_process_died", lines=process.last_lines())
                self.settle_dead(ValueError("The process that read the model said what is not understood."), None)
            return
