"""Writes Keras' history, the files of its `CSVLogger` and its `TensorBoard`: one training that memorizes 100 digits."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
EPOCHS = 40


def main() -> None:
    """Train once, and let Keras write everything."""
    keras.utils.set_random_seed(3)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    order = np.random.default_rng(1).permutation(len(labels))
    train, validation = order[:100], order[100:500]
    model = keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    logs = HERE / "keras_tensorboard"
    shutil.rmtree(logs, ignore_errors=True)
    history = model.fit(
        images[train],
        labels[train],
        validation_data=(images[validation], labels[validation]),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            keras.callbacks.CSVLogger(HERE / "keras_training.csv"),
            keras.callbacks.TensorBoard(logs, write_graph=False),
        ],
    )
    (HERE / "keras_history.json").write_text(json.dumps(history.history) + "\n")


if __name__ == "__main__":
    main()
