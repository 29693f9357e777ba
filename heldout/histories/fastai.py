"""What is particular to fastai: it shows an error rate where others show an accuracy."""

from dataclasses import replace

from heldout.histories.names import roles_of
from heldout.histories.recorded import Run

_ERROR_RATE = "error_rate"


def with_accuracy(run: Run) -> Run:
    """The run with the accuracy of validation in place of fastai's `error_rate`, unless it has an accuracy."""
    points = run.curves.get(_ERROR_RATE)
    has_accuracy = any(role and role[1] == "accuracy" for role in roles_of(run.curves).values())
    if points is None or has_accuracy or not {"train_loss", "valid_loss"} <= set(run.curves):
        return run
    accuracy = [(position, 1 - value) for position, value in points]
    by_epoch = run.by_epoch | {"valid_accuracy"} if run.by_epoch else run.by_epoch
    return replace(run, curves={**run.curves, "valid_accuracy": accuracy}, by_epoch=by_epoch)
