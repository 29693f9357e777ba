"""Answers images with a `.keras` file in a process that has only Keras. Runs as a script, without our code.

Arguments: the model, the dataset's `images.npy`, a file of positions, a file of the ends of batches, and where to write
the probabilities.
"""

import os
import sys
from itertools import pairwise


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
    main(*sys.argv[1:6])
