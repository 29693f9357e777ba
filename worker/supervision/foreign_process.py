"""The attempt's side of the process that reads an uploaded model: starts it, reads its answer, kills it.

It reads an untrusted file, so its messages are never unpickled, and it gets no credentials.
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


# Memory of TensorFlow, Keras and onnxruntime themselves.
_PROGRAMS_BYTES = 3 * GIB
# Multiples of the file's size: for the file, its weights, and the computation with them.
_COPIES = 6
# A float32, and what makes it a random number.
_BYTES_PER_NEW_PARAMETER = 12


def get_model_memory_bytes(model: Path, new_parameters: int = 0) -> int:
    """The private memory that a process may have for a model's file and the programs that read it.

    Args:
        new_parameters: the most that it makes itself, for an architecture without weights.
    """
    return _PROGRAMS_BYTES + _COPIES * model.stat().st_size + _BYTES_PER_NEW_PARAMETER * new_parameters


class ForeignProcess(EnclosedProcess):
    """A process with an assignment. The thread that starts it must outlive it: on Linux it dies with that thread.

    Args:
        inputs: the files that it reads; the model's file is `model`.
        target: the folder that it may write.
        memory_bytes: private memory that it may have.
        wall_s: processor seconds that it may take.
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
        """Return its only answer, or None after `timeout_s` without it. After the answer it is killed; `target` stays.

        Raises:
            ProcessDied: it ended without an answer, or sent an invalid one.
        """
        try:
            line = self.read_line(timeout_s)
        except ProcessEnded as ended:
            likely = ", perhaps because memory or time ran out" if ended.exit_code < 0 else ""
            raise ProcessDied(ended.exit_code, f"The process that read the model {ended}{likely}.") from None
        except LineTooLong:
            raise ProcessDied(None, "The process that read the model sent too long a message.") from None
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
