"""Builds the views of uploaded models, of their evaluations, and of confusion matrices."""

from heldout.lifecycle.job import get_shown_status
from heldout.network_check.catalogue import check_network
from heldout.network_check.checked import Checked
from heldout.spec.model_facts import ModelFacts
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.evaluation import StoredSplitScores as StoredSplit
from heldout.stored.results import Measurement
from heldout.views.base import make_view
from heldout.views.model import EvaluationView, ModelView
from heldout.views.note import NoteView
from heldout.views.results import MAX_MATRIX_CLASSES, ClassScores, ConfusionView, Mistake, SplitScores
from heldout.words.data_and_models import describe_evaluation
from models.tables import DatasetRow, JobRow, ModelRow
from models.views.dataset import get_thumbnail_route
from models.views.job import build_dataset_reference


def build_evaluation_view(row: JobRow, dataset: DatasetRow, measured: Measurement | None) -> EvaluationView:
    headline, summary = describe_evaluation(row.status, measured)
    return make_view(
        EvaluationView,
        row,
        object="evaluation",
        status=get_shown_status(row.status, row.request),
        model={"id": row.spec["model"], "name": row.spec["model_name"]},
        dataset=build_dataset_reference(dataset),
        headline=headline,
        summary=summary,
        metrics=None if measured is None else measured.metrics,
        preprocessing=None if measured is None else measured.preprocessing,
        as_given=None if measured is None else measured.as_given,
        error=row.error or None,
    )


# Facts from the model's file, which are null until it was read.
_OF_FILE = {*ModelFacts.model_fields, "gives", "classes"} & ModelView.model_fields.keys()


def build_model_view(row: ModelRow, *, with_layers: bool = True) -> ModelView:
    facts = None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers if with_layers else None)
    of_file = {name: getattr(facts, name, None) for name in _OF_FILE}
    if not with_layers:
        of_file["layers"] = None
    notes = _list_notes(facts) if with_layers and facts is not None else None
    return make_view(ModelView, row, object="model", shared=row.owner is None, notes=notes, **of_file)


def _list_notes(facts: ModelFacts) -> list[NoteView] | None:
    if facts.network is None or not facts.network.outline:
        return None
    height, width, channels = facts.input_shape
    image = None if height is None or width is None else (height, width, channels or 0)
    checked = Checked(facts.network.outline, facts.network, image, facts.classes)
    return [make_view(NoteView, note) for note in check_network(checked)]


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
