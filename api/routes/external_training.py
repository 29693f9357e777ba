"""The body of `POST /v1/diagnoses`: a recorded training's curves in one of four formats, and its predictions."""

from collections.abc import Sequence
from math import inf
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    RootModel,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from analysis.answers.answers import PredictionsRefused
from analysis.answers.received import MAX_CLASSES, ExternalAnswers, GivenSplit, receive_answers
from api.http.body import Body
from heldout.diagnosis.history import parse_figure
from heldout.histories.documents import is_keras, read_curves, read_document
from heldout.histories.joining import SeveralRunsError
from heldout.histories.names import choose_curves
from heldout.histories.reading import read_scalars, read_table, read_text
from heldout.histories.recorded import ReadHistory
from heldout.spec.dataset import MAX_COLUMNS, MAX_VALUE_CHARACTERS, ColumnName
from heldout.stored.evaluation import SPLIT_NAMES

ClassName = Annotated[str, Field(min_length=1, max_length=256)]
# A position, counted from 0, or a name.
ClassLabel = Annotated[int, Field(ge=0, lt=MAX_CLASSES)] | ClassName
# A further value of an image; null if it is unknown.
ColumnValue = Annotated[str, Field(max_length=MAX_VALUE_CHARACTERS)] | int | float | None
Classes = (
    Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    | Annotated[list[ClassName], Field(min_length=2, max_length=MAX_CLASSES)]
)


class SplitPredictions(Body):
    """A network's predictions for the labeled images of one split. All lists have the images in the same order."""

    labels: list[ClassLabel] = Field(min_length=1, description="Classes as numbers from 0, or as names.")
    probabilities: list[list[float]] | None = Field(
        None,
        description="For each image, the probability of each class, after the softmax. A row with one number is the "
        "probability of the second of two classes.",
    )
    answers: list[ClassLabel] | None = Field(
        None, description="If probabilities are unknown: the predicted class of each image."
    )
    hashes: list[Annotated[str, Field(max_length=256)]] | None = Field(
        None,
        description="For each image, a text that is equal for equal pixels, such as their SHA-256. Together with the "
        "hashes of the training images, it shows which held-out images were trained on.",
    )
    columns: dict[ColumnName, list[ColumnValue]] = Field(
        {},
        max_length=MAX_COLUMNS,
        description="Further values of each image, such as `camera`, by the name of the column. All metrics are "
        "reported for each value, in `groups`. Numbers are put into bins.",
    )


class ExternalPredictions(Body):
    """Predictions of the same weights for the images of each split. The gap needs `train` and `test`."""

    train: SplitPredictions | None = None
    validation: SplitPredictions | None = None
    test: SplitPredictions | None = None

    def answers(self, classes: int | Sequence[str] | None) -> ExternalAnswers:
        """Raises PredictionsRefused."""
        splits = {name: split for name in SPLIT_NAMES if (split := getattr(self, name)) is not None}
        return receive_answers({name: GivenSplit(**vars(split)) for name, split in splits.items()}, classes)


MAX_EPOCHS = 10_000
_FORMS = ("history", "csv", "scalars", "log")


def _parse_curve_value(value: Any) -> Any:
    """Convert a number to a curve's value. Anything else is left alone, and refused for its type later."""
    return parse_figure(value) if type(value) in {int, float} else value


def _keep_curves(history: Any) -> Any:
    """Replace everything that is not a curve, such as learning rates, by an empty list: it may hold any values."""
    if not isinstance(history, dict):
        return history
    curves = choose_curves([name for name, values in history.items() if values != []]).values()
    return {name: values if name in curves else [] for name, values in history.items()}


def _document_curves(schema: dict[str, Any]) -> None:
    """Document the curves that Keras writes, and allow other names. Values that are not curves are ignored."""
    curve = schema.pop("additionalProperties")
    schema["properties"] = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), curve)
    schema["additionalProperties"] = True


Curve = Annotated[list[Annotated[float | None, BeforeValidator(_parse_curve_value)]], Field(max_length=MAX_EPOCHS)]
CurveName = Annotated[str, Field(max_length=256)]
Curves = Annotated[dict[CurveName, Curve], Field(max_length=1000), BeforeValidator(_keep_curves)]


class KerasHistory(RootModel[Curves]):
    """The content of `model.fit(...).history`: one value per epoch, null if it was not finite.

    Curves may have other recognizable names, such as `train_loss` and `valid_loss`. Everything else is ignored.
    """

    model_config = ConfigDict(frozen=True, strict=True, json_schema_extra=_document_curves)


class OtherHistory(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """JSON in another format: a list of records, Hugging Face's `trainer_state.json`, or curves grouped by split.

    A record is an epoch or a step: `{"epoch": 1, "train_loss": 0.9, "val_loss": 1.1}`. Training and validation records
    are joined by epoch or step. Curves may be grouped under the names of splits: `{"train": {"loss": […]}}`.
    """

    model_config = ConfigDict(frozen=True, strict=True)


def _detect_form(history: Any) -> str:
    """Choose between the two formats. Input in neither format is refused as Keras'."""
    is_other = isinstance(history, OtherHistory | list) or (isinstance(history, dict) and not is_keras(history))
    return "other" if is_other else "keras"


def _parse_scalar(value: Any) -> Any:
    """Parse a float. TensorBoard writes NaN and infinity as text, and an integer can be too large for a float."""
    if type(value) is int and parse_figure(value) is None:
        return inf
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


# TensorBoard's steps have 64 bits.
Step = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# JSON has no tuples.
Point = Annotated[tuple[float, Step, Annotated[float, BeforeValidator(_parse_scalar)]], Field(strict=False)]
Points = Annotated[list[Point], Field(max_length=MAX_EPOCHS)]
RunAndTag = CurveName
History = Annotated[
    Annotated[KerasHistory, Tag("keras")] | Annotated[OtherHistory, Tag("other")], Discriminator(_detect_form)
]


class ExternalCurves(Body):
    """The curves of a recorded training, in one of four formats."""

    history: History | None = None
    csv: str | None = Field(
        None,
        description="A header line and one line per epoch, as written by the CSVLogger of Keras, Lightning and fastai "
        "and by Ultralytics, or one line per figure, as exported by MLflow. Lines of the same epoch or step belong "
        f"together. At most {MAX_EPOCHS:,} lines below the header.",
    )
    scalars: Annotated[dict[RunAndTag, Points], Field(max_length=1000)] | None = Field(
        None,
        description="TensorBoard's JSON downloads: for each run and tag, such as `validation/epoch_loss`, a list of "
        "[wall time, step, value].",
    )
    log: str | None = Field(
        None,
        description="The output of a training, such as the lines printed by Keras' `fit`, or JSON Lines. At most "
        f"{MAX_EPOCHS:,} lines with figures.",
    )
    run: int | None = Field(
        None, ge=1, description="The number of the run, from 1, if the input contains several runs in sequence."
    )
    classes: Classes | None = Field(
        None,
        description="The number of classes, or their names in the order of the probabilities. Without it, the "
        "diagnosis of a history may find less.",
    )
    _read: ReadHistory | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _require_readable(self) -> "ExternalCurves":
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1 and (given or not self._may_have_no_curves):
            raise ValueError(f"expected one of `history`, `csv`, `scalars` and `log`{self._or_else}")
        if given:
            self._read = self._check(given[0])
        elif self.run is not None:
            raise make_field_error(ValueError("it needs a history to choose the run from"), ("run",))
        return self

    @property
    def _may_have_no_curves(self) -> bool:
        return False

    @property
    def _or_else(self) -> str:
        return ""

    def curves(self) -> ReadHistory | None:
        """Return the history, with notes on how its figures were read. None if no history was sent."""
        return self._read

    @property
    def class_count(self) -> int:
        """The number of classes, or 0 if it is not given."""
        return 0 if self.classes is None else self.classes if isinstance(self.classes, int) else len(self.classes)

    def _check(self, form: str) -> ReadHistory:
        try:
            return self._reading()
        except SeveralRunsError as error:
            raise make_field_error(error, (form if self.run is None else "run",)) from None
        except RecursionError:
            raise make_field_error(ValueError("it is nested too deeply"), (form,)) from None
        except ValueError as error:
            raise make_field_error(error, (form,)) from None

    def _reading(self) -> ReadHistory:
        if isinstance(self.history, KerasHistory):
            return read_curves(self.history.root)
        if self.history is not None:
            return read_document(self.history.root, self.run, MAX_EPOCHS)
        if self.csv is not None:
            return read_table(self.csv, self.run, MAX_EPOCHS)
        if self.log is not None:
            return read_text(self.log, self.run, MAX_EPOCHS)
        points = {name: [(step, value) for _, step, value in of_name] for name, of_name in (self.scalars or {}).items()}
        return read_scalars(points, self.run)


class ExternalTraining(ExternalCurves):
    """A recorded training: its curves in one of four formats, its predictions for labeled images, or both."""

    predictions: ExternalPredictions | None = None
    _answers: ExternalAnswers | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_predictions(self) -> "ExternalTraining":
        if self.predictions is not None:
            try:
                self._answers = self.predictions.answers(self.classes)
            except PredictionsRefused as error:
                of_classes = error.path[:1] == ("classes",)
                path = ("predictions",) if of_classes else ("predictions", *error.path)
                if of_classes and self.classes is not None:  # given next to the predictions
                    path = error.path
                raise make_field_error(PredictionsRefused(make_sentence(error)), path) from None
        return self

    @property
    def _may_have_no_curves(self) -> bool:
        return self.predictions is not None

    @property
    def _or_else(self) -> str:
        return ", or `predictions`"

    def answers(self) -> ExternalAnswers | None:
        """Return the predictions for labeled images. None if they were not sent."""
        return self._answers


def make_sentence(error: PredictionsRefused) -> str:
    """Capitalize the error's message. The period is added later, as to every refusal."""
    text = str(error)
    return text[:1].upper() + text[1:]


def make_field_error(error: ValueError, path: tuple[str | int, ...]) -> PydanticCustomError:
    """Make the error of a field, or of a value inside it."""
    return PydanticCustomError("value_error", "{reason}", {"reason": str(error), "path": path})
