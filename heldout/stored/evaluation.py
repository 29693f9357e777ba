"""`evaluation.json`: the results of a job's kept weights, class by class. The worker writes it along with the model."""

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import Field, InstanceOf

from heldout.stored.file import StoredFile, StoredPart
from heldout.stored.results import MetricResult

SplitName = Literal["train", "validation", "test"]
# Matrices with more rows are not kept as Python integers.
LARGE_MATRIX = 200
MAX_TWO_BYTES = 65_535
if TYPE_CHECKING:
    Numbers = array[int]
else:
    Numbers = array  # Python 3.11 has no `array[int]`
Matrix = tuple[tuple[int, ...] | InstanceOf[Numbers], ...]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)


class StoredClassScores(StoredPart):
    """Scores of one class, as fractions; null if there is nothing to divide by."""

    count: int
    precision: float | None
    recall: float | None
    f1: float | None


class StoredMistake(StoredPart):
    """A wrong answer.

    index: the image's position in the dataset. member: its name in the upload; null in bundled datasets and in files of
    earlier releases. label, answer: positions of classes.
    """

    index: int
    member: str | None = None
    label: int
    answer: int
    probability: float


class StoredGroup(StoredPart):
    """Results for the images with one value of a column, or with numbers in one bin."""

    value: str
    count: int
    right: int
    metrics: dict[str, MetricResult] = Field(
        {},
        description="Every metric by name, with intervals that hold together for all groups of the column. Empty if "
        "there are too few images.",
    )
    why: str | None = Field(None, description="Why there are no metrics.")


class StoredColumn(StoredPart):
    """Results for each value of a column of the dataset, such as each camera."""

    name: str
    groups: tuple[StoredGroup, ...]
    without_value: int = Field(0, description="How many images have no value.")
    right_by_column: int | None = Field(
        None,
        description="Images of the split that the column alone would get right, by the most frequent label of training "
        "images with the same value. null without training labels.",
    )
    right_by_majority: int | None = Field(
        None, description="Images of the split that the most frequent label of training would get right."
    )
    why: str | None = Field(None, description="Why there are no groups, such as too many values.")


class StoredExchange(StoredPart):
    """An image whose answer follows a property of an image of another class.

    label, other, answer: positions of the classes of the image and of the other one, and of the answer with its
    property. before, exchanged, control: small pictures as `data:` addresses. The answer to the control is right.
    """

    label: int
    other: int
    answer: int
    before: str
    exchanged: str
    control: str


class StoredIntervention(StoredPart):
    """What exchanging a property between images of different classes does to the answers.

    right: answers before. right_changed: with the property exchanged. right_control: with that of an image of the
    same class.
    points: how much less accurate than the control, as a fraction; its interval holds for all properties together.
    changed: images, by position in the dataset, that were right before and under the control, but not then.
    pictures: of each of them, if the property is confirmed.
    """

    what: str
    count: int
    right: int
    right_changed: int
    right_control: int
    points: float
    interval: tuple[float, float]
    is_confirmed: bool
    changed: tuple[int, ...] = ()
    pictures: tuple[StoredExchange, ...] = ()


class StoredSplitScores(StoredPart):
    """Scores of one split.

    confusion: (classes, classes) counts; rows are labels and columns are answers.
    calibration_error: expected calibration error over 15 equal bins of the answer's probability; null without images.
    mistakes: wrong answers, the most confident first.
    columns: results for the values of each column, of held-out splits.
    interventions: what exchanges of properties do, if a column alone predicts the label.
    """

    confusion: Matrix
    per_class: tuple[StoredClassScores, ...]
    calibration_error: float | None
    mistakes: tuple[StoredMistake, ...]
    columns: tuple[StoredColumn, ...] = ()
    interventions: tuple[StoredIntervention, ...] = ()


class PairedDifference(StoredPart):
    """How much worse one model is than another on the same images, with a 95% interval."""

    difference: float
    interval: tuple[float, float]


class PairedAccuracy(PairedDifference):
    """How much less accurate one model is than another. p: two-sided p-value of McNemar's exact test."""

    p: float


class LastEpochScores(StoredPart):
    """What the last epoch's weights cost compared with the kept ones, on the same `count` images of `split`."""

    epoch: int
    kept_epoch: int
    split: str
    count: int
    accuracy: PairedAccuracy
    loss: PairedDifference  # in nats

    def flatten(self) -> dict[str, Any]:
        """Return the figures as evidence shows them, each next to its interval."""
        return {
            **self.model_dump(exclude={"accuracy", "loss"}),
            "accuracy": self.accuracy.difference,
            "accuracy_interval": self.accuracy.interval,
            "p": self.accuracy.p,
            "loss": self.loss.difference,
            "loss_interval": self.loss.interval,
        }


class StoredEvaluation(StoredFile):
    """Scores of the kept weights. last_epoch: null if the last epoch's weights were kept."""

    file_name: ClassVar[str] = "evaluation.json"

    classes: tuple[str, ...]
    splits: dict[SplitName, StoredSplitScores]
    last_epoch: LastEpochScores | None = None

    @classmethod
    def compact(cls, part: dict[str, Any]) -> dict[str, Any]:
        """Store large matrices with two or four bytes per cell: three with a thousand classes have three million."""
        rows = part.get("confusion")
        if isinstance(rows, list) and len(rows) > LARGE_MATRIX:
            with suppress(TypeError, ValueError, OverflowError):  # validation reports the error
                part["confusion"] = tuple(array("H" if max(row) <= MAX_TWO_BYTES else "i", row) for row in rows)
        return part
