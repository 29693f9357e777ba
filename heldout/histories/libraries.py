"""What is particular to one library: fastai's error rate, and the parts of a detector's loss of Ultralytics."""

from collections.abc import Sequence
from dataclasses import replace

from heldout.histories.names import listing, roles_of
from heldout.histories.recorded import Point, Run

_ERROR_RATE = "error_rate"
_TRAINING, _VALIDATION = "train/", "val/"
_LOSS = "_loss"


def with_accuracy(run: Run) -> Run:
    """The run with the accuracy of validation in place of fastai's `error_rate`, unless it has an accuracy."""
    points = run.curves.get(_ERROR_RATE)
    has_accuracy = any(role and role[1] == "accuracy" for role in roles_of(run.curves).values())
    if points is None or has_accuracy or not {"train_loss", "valid_loss"} <= set(run.curves):
        return run
    accuracy = [(position, 1 - value) for position, value in points]
    by_epoch = run.by_epoch | {"valid_accuracy"} if run.by_epoch else run.by_epoch
    return replace(run, curves={**run.curves, "valid_accuracy": accuracy}, by_epoch=by_epoch)


def with_summed_losses(run: Run) -> Run:
    """The run with `train/loss` and `val/loss` in place of their parts, such as `train/box_loss`.

    Only where it has figures `metrics/…` too, and both splits have the same parts.
    """
    parts = [name.removeprefix(_TRAINING) for name in run.curves if name.startswith(_TRAINING) and name.endswith(_LOSS)]
    of_validation = {name.removeprefix(_VALIDATION) for name in run.curves if name.startswith(_VALIDATION)}
    is_theirs = any(name.startswith("metrics/") for name in run.curves)
    if len(parts) < 2 or not is_theirs or not set(parts) <= of_validation:
        return run
    curves = {name: points for name, points in run.curves.items() if not name.endswith(_LOSS)}
    for split in (_TRAINING, _VALIDATION):
        curves[f"{split}loss"] = _sum([run.curves[split + part] for part in parts])
    return replace(
        run,
        curves=curves,
        by_epoch=frozenset(curves) if run.by_epoch else run.by_epoch,
        notes=(*run.notes, f"Each loss is the sum of its parts: {listing(parts)}."),
    )


def _sum(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """The sum of curves that were written together, row by row."""
    return [
        (points[0][0], sum(value for _, value in points))
        for points in zip(*curves, strict=False)
        if len({position for position, _ in points}) == 1
    ]
