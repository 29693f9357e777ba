"""Answers images with a `.keras` file in a process that has Keras alone. Run as a script; it imports nothing of ours.

Arguments: the model, the dataset's `images.npy`, a file of positions, a file of the ends of batches, where to write the
probabilities, and the id of the process that waits for it.
"""

import ctypes
import os
import signal
import sys
from itertools import pairwise


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main(model_file: str, images_file: str, positions_file: str, ends_file: str, answers_file: str) -> None:
    import keras
    import numpy as np

    model = keras.saving.load_model(model_file, safe_mode=True)
    images = np.load(images_file, mmap_mode="r", allow_pickle=False)
    positions, ends = np.load(positions_file), np.load(ends_file)
    answers = [
        np.asarray(model(np.asarray(images[positions[first:end]], np.float32), training=False))
        for first, end in pairwise(ends)
    ]
    np.save(answers_file, np.concatenate(answers))


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _end_with(int(sys.argv[6]))
    main(*sys.argv[1:6])
