"""What `POST /v1/diagnoses` takes: the curves of a training from anywhere, in one of four forms, and predictions."""

from math import inf
from typing import Annotated, Any

from pydantic import (
    BaseModel,
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

from analysis.answers.received import ForeignAnswers
from analysis.answers.refusal import PredictionsRefused
from api.routes.foreign_predictions import Classes, ForeignPredictions
from heldout.diagnosis.history import parse_figure
from heldout.histories.documents import is_keras, read_curves, read_document
from heldout.histories.joining import SeveralRunsError
from heldout.histories.names import choose_curves
from heldout.histories.reading import read_scalars, read_table, read_text
from heldout.histories.recorded import ReadHistory

MAX_EPOCHS = 10_000
_FORMS = ("history", "csv", "scalars", "log")


def _parse_curve_value(value: Any) -> Any:
    """A number as a curve holds it. Anything else stays as it is, and is refused by its type."""
    return parse_figure(value) if type(value) in {int, float} else value


def _keep_curves(history: Any) -> Any:
    """The history with an empty list for everything that is no curve, such as learning rates: it may hold anything."""
    if not isinstance(history, dict):
        return history
    curves = choose_curves([name for name, values in history.items() if values != []]).values()
    return {name: values if name in curves else [] for name, values in history.items()}


def _document_curves(schema: dict[str, Any]) -> None:
    """Name the curves that Keras itself writes, and allow other names: what is no curve is ignored."""
    curve = schema.pop("additionalProperties")
    schema["properties"] = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), curve)
    schema["additionalProperties"] = True


Curve = Annotated[list[Annotated[float | None, BeforeValidator(_parse_curve_value)]], Field(max_length=MAX_EPOCHS)]
CurveName = Annotated[str, Field(max_length=256)]
Curves = Annotated[dict[CurveName, Curve], Field(max_length=1000), BeforeValidator(_keep_curves)]


class KerasHistory(RootModel[Curves]):
    """What `model.fit(...).history` holds; one value an epoch, null where it was not finite.

    Curves may have other names that say what they are, such as `train_loss` and `valid_loss`; the rest is ignored.
    """

    model_config = ConfigDict(frozen=True, strict=True, json_schema_extra=_document_curves)


class OtherHistory(RootModel[dict[str, Any] | list[dict[str, Any]]]):
    """JSON of another shape: a list of records, Hugging Face's `trainer_state.json`, or curves below their splits.

    A record is an epoch or a step: `{"epoch": 1, "train_loss": 0.9, "val_loss": 1.1}`; records of training and of
    validation are joined by epoch or step. Curves may lie below the names of splits: `{"train": {"loss": […]}}`.
    """

    model_config = ConfigDict(frozen=True, strict=True)


def _detect_form(history: Any) -> str:
    """Which of the two shapes it has; what is none of both is refused as Keras'."""
    is_other = isinstance(history, OtherHistory | list) or (isinstance(history, dict) and not is_keras(history))
    return "other" if is_other else "keras"


def _parse_scalar(value: Any) -> Any:
    """A float. TensorBoard writes NaN and infinity as text, and a whole number can be too large for a float."""
    if type(value) is int and parse_figure(value) is None:
        return inf
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


# Of 64 bits, as TensorBoard's are.
Step = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# JSON has no tuples.
Point = Annotated[tuple[float, Step, Annotated[float, BeforeValidator(_parse_scalar)]], Field(strict=False)]
Points = Annotated[list[Point], Field(max_length=MAX_EPOCHS)]
RunAndTag = CurveName
History = Annotated[
    Annotated[KerasHistory, Tag("keras")] | Annotated[OtherHistory, Tag("other")], Discriminator(_detect_form)
]


class ForeignCurves(BaseModel):
    """The curves of a training from anywhere, in one of four forms."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    history: History | None = None
    csv: str | None = Field(
        None,
        description="A line of names and one line an epoch, as CSVLogger of Keras, Lightning and fastai and as "
        "Ultralytics write it, or a line for each figure, as MLflow's are exported; lines of the same epoch or step "
        f"belong together. At most {MAX_EPOCHS:,} lines below the names.",
    )
    scalars: Annotated[dict[RunAndTag, Points], Field(max_length=1000)] | None = Field(
        None,
        description="TensorBoard's: for each run and tag, such as `validation/epoch_loss`, a list of [wall time, "
        "step, value], which is what it lets download as JSON.",
    )
    log: str | None = Field(
        None,
        description="What a training has printed, such as the lines of Keras' `fit`, or JSON Lines; at most "
        f"{MAX_EPOCHS:,} lines with figures.",
    )
    run: int | None = Field(
        None, ge=1, description="Which run is meant, counted from 1, where several were written one after the other."
    )
    classes: Classes | None = Field(
        None,
        description="How many classes there are, or their names in the order of the columns of probabilities. Without "
        "it, a history may show less than it could.",
    )
    _read: ReadHistory | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_that_it_can_be_judged(self) -> "ForeignCurves":
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1 and (given or not self._may_have_no_curves):
            raise ValueError(f"expected one of `history`, `csv`, `scalars` and `log`{self._or_else}")
        if given:
            self._read = self._check(given[0])
        elif self.run is not None:
            raise make_field_error(ValueError("there is no history of which it could be a run"), ("run",))
        return self

    @property
    def _may_have_no_curves(self) -> bool:
        return False

    @property
    def _or_else(self) -> str:
        return ""

    def curves(self) -> ReadHistory | None:
        """The history, with how its figures were read; None where there is none."""
        return self._read

    @property
    def class_count(self) -> int:
        """How many classes there are; 0 where that is not said."""
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


class ForeignTraining(ForeignCurves):
    """A training from anywhere: its curves in one of four forms, what its network says of labelled images, or both."""

    predictions: ForeignPredictions | None = None
    _answers: ForeignAnswers | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_predictions(self) -> "ForeignTraining":
        if self.predictions is not None:
            try:
                self._answers = self.predictions.answers(self.classes)
            except PredictionsRefused as error:
                beside = error.path[:1] == ("classes",) and self.classes is not None
                path = error.path if beside else ("predictions", *_locate_error(error))
                raise make_field_error(PredictionsRefused(make_sentence(error)), path) from None
        return self

    @property
    def _may_have_no_curves(self) -> bool:
        return self.predictions is not None

    @property
    def _or_else(self) -> str:
        return ", or `predictions`"

    def answers(self) -> ForeignAnswers | None:
        """What the network says of labelled images; None where that was not sent."""
        return self._answers


def make_sentence(error: PredictionsRefused) -> str:
    """Its message with a capital letter, and without the full stop that every refusal gets."""
    text = str(error)
    return text[:1].upper() + text[1:]


def _locate_error(error: PredictionsRefused) -> tuple[str | int, ...]:
    return () if error.path[:1] == ("classes",) else error.path


def make_field_error(error: ValueError, path: tuple[str | int, ...]) -> PydanticCustomError:
    """The error of a field, or of what is below it."""
    return PydanticCustomError("value_error", "{reason}", {"reason": str(error), "path": path})
