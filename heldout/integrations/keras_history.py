"""A job's epochs as Keras' `fit` records them: names and values of `History.history` and `CSVLogger`."""

import csv
import io
from typing import Literal

from heldout.views.results import MetricsView

HistoryFormat = Literal["keras", "csv"]

# Keras' names of the figures that `fit` also reports. `loss` is the objective with penalties; `val_loss` has none.
NAMES = {
    "loss": "fit_loss",
    "accuracy": "fit_accuracy",
    "val_loss": "validation_loss",
    "val_accuracy": "validation_accuracy",
    "learning_rate": "learning_rate",
}


def build_keras_history(metrics: MetricsView) -> dict[str, list[float | None]]:
    """Build curves by Keras' names, with one value per epoch; None for values that are not finite.

    For a job without validation images, the `val_` curves are absent, as in Keras.
    """
    curves = {name: [getattr(epoch, field) for epoch in metrics.epochs] for name, field in NAMES.items()}
    return {
        name: values
        for name, values in curves.items()
        if not name.startswith("val_") or any(value is not None for value in values)
    }


def write_csv(metrics: MetricsView) -> str:
    """Write a table like `CSVLogger`: `epoch`, which counts from 0, then the curves sorted by name.

    Values that are not finite are `nan`.
    """
    history = dict(sorted(build_keras_history(metrics).items()))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", *history])
    for row, epoch in enumerate(metrics.epochs):
        values = [values[row] for values in history.values()]
        table.writerow([epoch.epoch - 1, *("nan" if value is None else value for value in values)])
    return text.getvalue()
