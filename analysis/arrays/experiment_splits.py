"""Which images an experiment uses: the job's own splits, without some images, or divided again."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.folds import Positions, assign_folds
from analysis.arrays.relations import Relations, find_units
from heldout.work.kinds import ExperimentSpec

# Parts into which images are divided. Held-out splits get whole parts, at least one each.
PARTS = 20
SEED = 0


def change_splits(
    own: Mapping[str, Positions], labels: NDArray[np.int32], spec: ExperimentSpec, relations: Relations | None
) -> dict[str, Positions]:
    """Return the splits of an experiment, from those of the job that it belongs to.

    Args:
        own: positions of the images of each split, ascending. labels: (images,) of the whole dataset.
        relations: images that belong together stay in one split; None if unknown.
    """
    splits = dict(own)
    if spec.splits_again is not None:
        splits |= _divide(splits, labels, spec.splits_again == "all", relations)
    if spec.leave_out:
        splits["train"] = splits["train"][~np.isin(splits["train"], np.asarray(spec.leave_out))]
    return splits


def _divide(
    own: Mapping[str, Positions], labels: NDArray[np.int32], with_test: bool, relations: Relations | None
) -> dict[str, Positions]:
    """Divide the images of the splits again, into splits of about the same sizes."""
    names = ["train", "validation", *(["test"] if with_test else [])]
    pool = np.sort(np.concatenate([own[name] for name in names]))
    part_of = assign_folds(labels, pool, None if relations is None else find_units(relations), folds=PARTS, seed=SEED)
    divided, begin = dict[str, Positions](), 0
    for name in names[1:]:
        parts = max(1, round(PARTS * len(own[name]) / len(pool)))
        divided[name] = pool[(part_of >= begin) & (part_of < begin + parts)]
        begin += parts
    return divided | {"train": pool[part_of >= begin]}
