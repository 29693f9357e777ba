"""The process that reads an uploaded model, as its attempt sees it: started afresh, listened to, ended by force.

It reads a stranger's file, so nothing that it says is unpickled, and it gets no credentials.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from worker.machine.enclosed_process import EnclosedProcess, LineTooLong, ProcessEnded
from worker.machine.enclosure import GIB
from worker.supervision.processes import ProcessDied

SET_VARIABLES = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": "/dev/null",  # no settings of the worker's user, and no folder for them
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}


# Of TensorFlow, Keras and onnxruntime themselves.
_PROGRAMS_BYTES = 3 * GIB
# Times the file's size: as it is read, as its weights, and as what is computed with them.
_COPIES = 6


def get_model_memory_bytes(model: Path) -> int:
    """The private memory that a process may have for a model's file and the programs that read it."""
    return _PROGRAMS_BYTES + _COPIES * model.stat().st_size


class ForeignProcess(EnclosedProcess):
    """A process with an assignment. The thread that starts it must outlive it: on Linux it ends with that thread.

    Args:
        inputs: what it reads, the file of the model among it as `model`.
        target: the folder that it may write.
        memory_bytes: private memory that it may have.
        wall_s: seconds of a processor that it may take.
    """

    def __init__(
        self,
        work: Literal["check", "measure", "weights", "backbone"],
        assignment: Mapping[str, Any],
        inputs: Mapping[str, Path | None],
        target: Path,
        *,
        memory_bytes: int,
        wall_s: int,
    ) -> None:
        whole = {**assignment, "memory_bytes": memory_bytes, "wall_s": wall_s}
        super().__init__("worker.training.foreign.child", work, whole, inputs, target, SET_VARIABLES)

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Its one answer, or None after `timeout_s` without it. Once it has answered it is ended: `target` stays.

        Raises:
            ProcessDied: it ended without one, or says what is not understood.
        """
        try:
            line = self.read_line(timeout_s)
        except ProcessEnded as ended:
            likely = ", perhaps because memory or time ran out" if ended.exit_code < 0 else ""
            raise ProcessDied(ended.exit_code, f"The process that read the model {ended}{likely}.") from None
        except LineTooLong:
            raise ProcessDied(None, "The process that read the model said too much.") from None
        if line is None:
            return None
        self.kill()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or len(answer) != 1:
            raise ProcessDied(None, "The process that read the model said what is not understood.")
        return answer
