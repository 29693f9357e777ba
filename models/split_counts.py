"""How many images a job trains on and is measured on, from what is known of its dataset without reading it."""

from heldout.spec.job import JobSpec
from models.tables import DatasetRow


def count_splits(dataset: DatasetRow, spec: JobSpec) -> dict[str, int] | None:
    """Images of each split before `train_limit`; None where the dataset has no splits yet.

    Of folds it is about right: they keep classes even, and copies together.
    """
    if dataset.splits is None:
        return None
    counts: dict[str, int] = {name: split["count"] for name, split in dataset.splits.items()}
    if spec.validation is not None:
        pool = counts["train"] + counts["validation"]
        counts["validation"] = 0 if spec.folds is None else pool // spec.folds.folds
        counts["train"] = pool - counts["validation"]
    return counts
