"""Counts the images that a job trains on and is measured on, without reading its dataset."""

from heldout.spec.job import JobSpec
from models.tables import DatasetRow


def count_splits(dataset: DatasetRow, spec: JobSpec) -> dict[str, int] | None:
    """Count the images of each split before `train_limit`. None if the dataset has no splits yet.

    Approximate for folds, which balance classes and keep copies together.
    """
    if dataset.splits is None:
        return None
    counts: dict[str, int] = {name: split["count"] for name, split in dataset.splits.items()}
    if spec.validation is not None:
        pool = counts["train"] + counts["validation"]
        counts["validation"] = 0 if spec.folds is None else pool // spec.folds.folds
        counts["train"] = pool - counts["validation"]
    return counts
