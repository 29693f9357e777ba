"""Builds the view of confusion matrices from the stored scores of a job's kept weights."""

from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.evaluation import StoredSplitScores as StoredSplit
from heldout.views.base import make_view
from heldout.views.results import MAX_MATRIX_CLASSES, ClassScores, ConfusionView, Mistake, SplitScores
from models.views.dataset import get_thumbnail_route


def build_confusion_view(stored: StoredEvaluation, dataset_id: str) -> ConfusionView:
    """Build the view, with class names, and the gap of each recall to that of training.

    Args:
        dataset_id: the dataset that the images belong to.
    """
    train = stored.splits["train"]
    return ConfusionView(
        object="confusion",
        classes=list(stored.classes),
        splits={
            name: _build_split_view(split, stored.classes, None if name == "train" else train, dataset_id)
            for name, split in stored.splits.items()
        },
    )


def _build_split_view(
    split: StoredSplit, classes: tuple[str, ...], train: StoredSplit | None, dataset_id: str
) -> SplitScores:
    def compute_gap(place: int) -> float | None:
        """Compute the recall in training minus the recall in this split."""
        trained, here = None if train is None else train.per_class[place].recall, split.per_class[place].recall
        return None if trained is None or here is None else trained - here

    return SplitScores(
        confusion=[list(row) for row in split.confusion] if len(classes) <= MAX_MATRIX_CLASSES else [],
        per_class=[
            make_view(ClassScores, scores, label=classes[place], gap=compute_gap(place))
            for place, scores in enumerate(split.per_class)
        ],
        calibration_error=split.calibration_error,
        mistakes=[
            make_view(
                Mistake,
                mistake,
                thumbnail=get_thumbnail_route(dataset_id, mistake.index),
                label=classes[mistake.label],
                answer=classes[mistake.answer],
            )
            for mistake in split.mistakes
        ],
    )
