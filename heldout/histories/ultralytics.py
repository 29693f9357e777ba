"""What is particular to Ultralytics: the loss of a detector is written as its parts, each with its weight."""

from collections.abc import Sequence
from dataclasses import replace

from heldout.histories.names import listing
from heldout.histories.recorded import Point, Run

_TRAINING, _VALIDATION = "train/", "val/"
_LOSS = "_loss"


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
