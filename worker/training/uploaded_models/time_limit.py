"""How long the check of an uploaded model may compute, by the size of its architecture and file."""

import os
import threading
import time
from collections.abc import Callable

from heldout.lifecycle.resources import ModelRejectionCode
from worker.training.model_files.refusal import ModelRefused

# Importing TensorFlow and a black image take 5 s. EfficientNetV2L takes 20 s in all, for 1,031 calls of layers.
BASE_S, S_PER_CALL = 30.0, 0.02
# Weights are unpacked, checked and loaded.
BYTES_PER_S = 10_000_000
LOOK_EVERY_S = 0.2


def compute_limit_s(calls: int, file_bytes: int) -> float:
    """Compute the processor time of a check. calls: as counted by `keras_graph.count_calls`; 0 for other files."""
    return BASE_S + S_PER_CALL * calls + file_bytes / BYTES_PER_S


class TimeLimit:
    """Ends this process when it has taken its processor time, after passing the refusal to `answer`.

    A thread looks at the time: one operation may take minutes, and signals would wait for it.
    """

    def __init__(self, file_bytes: int, answer: Callable[[ModelRefused], None]) -> None:
        self._file_bytes = file_bytes
        self._answer = answer
        self._calls = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def set_calls(self, calls: int) -> None:
        """Set the size of the architecture, once it is known."""
        self._calls = calls

    def _watch(self) -> None:
        while time.process_time() < compute_limit_s(self._calls, self._file_bytes):
            time.sleep(LOOK_EVERY_S)
        self._answer(make_refusal(self._calls, self._file_bytes))
        os._exit(0)


def make_refusal(calls: int, file_bytes: int) -> ModelRefused:
    """Refuse a model whose check has taken its time."""
    size = f"a network that calls layers {calls:,} times" if calls else f"a file of {file_bytes:,} bytes"
    return ModelRefused(
        ModelRejectionCode.TIMED_OUT,
        f"The check took more than {compute_limit_s(calls, file_bytes):.0f} s of processor time, the limit for {size}. "
        "Make its images, layers or loops smaller, and upload it again.",
    )
