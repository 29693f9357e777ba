"""The recorded trainings, as a study would have had them: nothing is trained here, and no image is needed.

    for condition in conditions():
        for training in trainings(condition):
            training.arm, training.seed, training.losses, training.correct, training.referee_loss, training.seconds

What a study may see of a training is `losses`, `correct`, `rows`, the curve, and the figures on training images. The
referee's figures are the truth that judges it. Rules are chosen on `conditions(sealed=False)` alone.
"""

from functools import cache

from benchmarks.cures import archive
from benchmarks.cures.archive import Recorded
from benchmarks.cures.conditions import SEALED, Condition, all_conditions
from benchmarks.cures.curves import Point, read_points
from benchmarks.cures.record import Training
from benchmarks.cures.remedies import Patch


def conditions(*, sealed: bool | None = None) -> list[Condition]:
    """List the recorded conditions: all of them, the sealed ones, or the others."""
    kept = [condition for condition in all_conditions() if (archive.FOLDER / f"{condition.key}.npz").is_file()]
    return [one for one in kept if sealed is None or (one.key in SEALED) == sealed]


@cache
def recorded(condition: Condition) -> Recorded:
    """Return the base, the arms and the trainings as they were recorded."""
    return archive.read(archive.FOLDER / f"{condition.key}.npz")


def trainings(condition: Condition) -> tuple[Training, ...]:
    """Yield the trainings by arm and seed: the base first, then remedies, then null arms."""
    return recorded(condition).trainings


def grid(condition: Condition) -> dict[tuple[str, int], Training]:
    """Return the same trainings by arm and seed."""
    return {training.key: training for training in trainings(condition)}


def remedies(condition: Condition) -> dict[str, Patch]:
    """Return the merge patch of each remedy."""
    return {arm: patch for arm, patch in recorded(condition).arms.items() if patch}


def null_arms(condition: Condition) -> list[str]:
    """Return arms that train the base with other seeds, the base included. No difference between them is real."""
    return [arm for arm, patch in recorded(condition).arms.items() if not patch]


def curves() -> dict[str, list[Point]]:
    """Return the points of each learning curve by name, smallest sizes first. The largest size judges a forecast."""
    found: dict[str, list[Point]] = {}
    for point in read_points():
        found.setdefault(point.curve, []).append(point)
    return {curve: sorted(points, key=lambda one: (one.images, one.seed)) for curve, points in found.items()}
