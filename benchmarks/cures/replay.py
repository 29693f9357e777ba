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
    """Every condition that is recorded, or only those that are sealed, or are not."""
    kept = [condition for condition in all_conditions() if (archive.FOLDER / f"{condition.key}.npz").is_file()]
    return [one for one in kept if sealed is None or (one.key in SEALED) == sealed]


@cache
def recorded(condition: Condition) -> Recorded:
    """Its base, its arms and its trainings, as they were when it was recorded."""
    return archive.read(archive.FOLDER / f"{condition.key}.npz")


def trainings(condition: Condition) -> tuple[Training, ...]:
    """Each arm with all its seeds: the base first, then remedies, then null arms."""
    return recorded(condition).trainings


def grid(condition: Condition) -> dict[tuple[str, int], Training]:
    """The same trainings, by arm and seed."""
    return {training.key: training for training in trainings(condition)}


def remedies(condition: Condition) -> dict[str, Patch]:
    """The merge patch of each remedy."""
    return {arm: patch for arm, patch in recorded(condition).arms.items() if patch}


def null_arms(condition: Condition) -> list[str]:
    """Arms that train the base with other seeds, so that no difference between them is real; the base is one."""
    return [arm for arm, patch in recorded(condition).arms.items() if not patch]


def curves() -> dict[str, list[Point]]:
    """The points of each learning curve, by its name, smallest sizes first. The largest size judges a forecast."""
    found: dict[str, list[Point]] = {}
    for point in read_points():
        found.setdefault(point.curve, []).append(point)
    return {curve: sorted(points, key=lambda one: (one.images, one.seed)) for curve, points in found.items()}
