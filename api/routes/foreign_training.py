"""What `POST /v1/diagnoses` takes: the curves of a training from anywhere, in one of three forms."""

from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from heldout.diagnosis.foreign import choose_curves, from_keras, from_scalars, from_table
from heldout.diagnosis.history import History, figure

MAX_EPOCHS = 10_000


def _curve_value(value: Any) -> Any:
    """A number as a curve holds it. Anything else stays as it is, and is refused by its type."""
    return figure(value) if type(value) in {int, float} else value


def _curves_alone(history: Any) -> Any:
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


Curve = Annotated[list[Annotated[float | None, BeforeValidator(_curve_value)]], Field(max_length=MAX_EPOCHS)]
CurveName = Annotated[str, Field(max_length=256)]
Curves = Annotated[dict[CurveName, Curve], Field(max_length=1000), BeforeValidator(_curves_alone)]


class KerasHistory(RootModel[Curves]):
    """What `model.fit(...).history` holds; one value an epoch, null where it was not finite.

    Curves may have other names that say what they are, such as `train_loss` and `valid_loss`; the rest is ignored.
    """

    model_config = ConfigDict(frozen=True, strict=True, json_schema_extra=_document_curves)

    @model_validator(mode="after")
    def _check_for_a_pair(self) -> "KerasHistory":
        self.curves()
        return self

    def curves(self) -> History:
        return from_keras(self.root)


def _scalar_value(value: Any) -> Any:
    """A float. TensorBoard writes NaN and infinity as text, and a whole number can be too large for a float."""
    if type(value) is int and figure(value) is None:
        return inf
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _history_of_table(text: str) -> History:
    return from_table(text, MAX_EPOCHS)


def _checked_table(text: str) -> str:
    _history_of_table(text)
    return text


def _checked_scalars(scalars: "dict[str, list[Point]]") -> "dict[str, list[Point]]":
    _history_of_scalars(scalars)
    return scalars


def _history_of_scalars(scalars: "dict[str, list[Point]]") -> History:
    return from_scalars({name: [(step, value) for _, step, value in points] for name, points in scalars.items()})


# Of 64 bits, as TensorBoard's are.
Step = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# JSON has no tuples.
Point = Annotated[tuple[float, Step, Annotated[float, BeforeValidator(_scalar_value)]], Field(strict=False)]
Points = Annotated[list[Point], Field(max_length=MAX_EPOCHS)]
RunAndTag = CurveName


class ForeignTraining(BaseModel):
    """A training from anywhere, in one of three forms."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    history: KerasHistory | None = None
    csv: Annotated[str, AfterValidator(_checked_table)] | None = Field(
        None,
        description="A line of names and one line an epoch, as Keras' CSVLogger writes it; at most "
        f"{MAX_EPOCHS:,} lines below the names.",
    )
    scalars: Annotated[dict[RunAndTag, Points], Field(max_length=1000), AfterValidator(_checked_scalars)] | None = (
        Field(
            None,
            description="TensorBoard's: for each run and tag, such as `validation/epoch_loss`, a list of [wall time, "
            "step, value], which is what it lets download as JSON.",
        )
    )

    @model_validator(mode="after")
    def _check_that_it_has_one_form(self) -> "ForeignTraining":
        if [self.history, self.csv, self.scalars].count(None) != 2:
            raise ValueError("expected one of `history`, `csv` and `scalars`")
        return self

    def curves(self) -> History:
        if self.history is not None:
            return self.history.curves()
        return _history_of_scalars(self.scalars) if self.scalars is not None else _history_of_table(self.csv or "")
