"""onnxruntime, as the processes for predictions use it."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.onnx_tensors import iterate_tensors

INPUT, OUTPUT = "pixels", "probabilities"  # what the export calls them


def load_runtime() -> Any:
    """onnxruntime, imported with the first call: that takes a tenth of a second."""
    # Releases after 1.27 would report to their maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


class OnnxNetwork:
    """A model that was exported to ONNX, ready to answer.

    properties: what the file says of itself, as texts.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        """Raises whatever onnxruntime does where it cannot read the file; ValueError where the file names others."""
        for _ in iterate_tensors(content):
            pass
        onnxruntime = load_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena would keep what the largest batch took until the model is dropped.
        options.enable_cpu_mem_arena = False
        # A thread that spins while it waits would take a core of an idle machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.properties: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(images, classes) for (images, height, width, channels), in one call."""
        answer: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: pixels})[0]
        return answer
