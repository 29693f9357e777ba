"""Runs networks with onnxruntime."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.onnx_tensors import iterate_tensors

INPUT, OUTPUT = "pixels", "probabilities"  # the names in exported files


def load_runtime() -> Any:
    """Import onnxruntime. The first call takes a tenth of a second."""
    # Releases after 1.27 would send telemetry to their maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


class OnnxNetwork:
    """A model that was exported to ONNX, ready to predict.

    properties: the file's own metadata, as texts.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        """Load the file. Raises ValueError if it needs other files, and what onnxruntime raises if it is unreadable."""
        for _ in iterate_tensors(content):
            pass
        onnxruntime = load_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena would keep the memory of the largest batch until the model is dropped.
        options.enable_cpu_mem_arena = False
        # Threads that spin while they wait would occupy the cores of an idle machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.properties: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def compute_probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute (images, classes) probabilities for (images, height, width, channels) pixels, in one call."""
        answer: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: pixels})[0]
        return answer
