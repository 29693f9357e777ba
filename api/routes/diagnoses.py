"""Why test results are poor: of a job, while it runs too, and of a history from anywhere."""

import json
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from api.http.auth import CallerDep
from api.http.deps import JobId, ReadSessionDep, ServicesDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from heldout.diagnosis import diagnose
from heldout.diagnosis.evaluation import Evaluation, from_final
from heldout.diagnosis.foreign import chosen_of, from_keras, from_scalars, from_table
from heldout.diagnosis.history import History, figure, from_epochs
from heldout.errors import JobNotFound, NotReady, StorageUnavailable
from heldout.lifecycle import shown_status
from heldout.views.confusion import ClassScores, ConfusionView, Mistake, SplitScores
from heldout.views.diagnosis import DiagnosisView
from models.blobs import BlobMissing, Blobs
from models.store import jobs, metrics
from models.tables import DatasetRow, ResultRow

of_jobs = resource("/v1/jobs/{job_id}", "jobs")
router = resource("/v1/diagnoses", "diagnoses")

MAX_EPOCHS = 10_000
FIGURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")


def _figure(value: Any) -> Any:
    """A number as curves hold it; anything else is left to be refused."""
    return figure(value) if type(value) in {int, float} else value


def _without_the_rest(history: Any) -> Any:
    """Empty in place of what stands beside the curves, such as learning rates, which may be anything."""
    if not isinstance(history, dict):
        return history
    curves = chosen_of([name for name, values in history.items() if values != []]).values()
    return {name: values if name in curves else [] for name, values in history.items()}


def _document_curves(schema: dict[str, Any]) -> None:
    """Name the curves that Keras itself writes, and leave others open: what is no curve is ignored."""
    curve = schema.pop("additionalProperties")
    schema["properties"] = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), curve)
    schema["additionalProperties"] = True


Curve = Annotated[list[Annotated[float | None, BeforeValidator(_figure)]], Field(max_length=MAX_EPOCHS)]
CurveName = Annotated[str, Field(max_length=256)]
Curves = Annotated[dict[CurveName, Curve], Field(max_length=1000), BeforeValidator(_without_the_rest)]


class KerasHistory(RootModel[Curves]):
    """What `model.fit(...).history` holds; one value an epoch, null where it was not finite.

    Curves may have other names that say what they are, such as `train_loss` and `valid_loss`; the rest is ignored.
    """

    model_config = ConfigDict(frozen=True, strict=True, json_schema_extra=_document_curves)

    @model_validator(mode="after")
    def _has_a_pair(self) -> "KerasHistory":
        self.curves()
        return self

    def curves(self) -> History:
        return from_keras(self.root)


def _number(value: Any) -> Any:
    """TensorBoard writes what JSON has no number for as text; JSON has numbers that a float has no room for."""
    if type(value) is int and figure(value) is None:
        return inf
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _of_table(text: str) -> History:
    return from_table(text, MAX_EPOCHS)


def _checked_table(text: str) -> str:
    _of_table(text)
    return text


def _checked_scalars(scalars: "dict[str, list[Point]]") -> "dict[str, list[Point]]":
    _of_scalars(scalars)
    return scalars


def _of_scalars(scalars: "dict[str, list[Point]]") -> History:
    return from_scalars({name: [(step, value) for _, step, value in points] for name, points in scalars.items()})


# Of 64 bits, as TensorBoard's are.
Step = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# JSON has no tuples.
Point = Annotated[tuple[float, Step, Annotated[float, BeforeValidator(_number)]], Field(strict=False)]
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
    def _is_one(self) -> "ForeignTraining":
        if [self.history, self.csv, self.scalars].count(None) != 2:
            raise ValueError("expected one of `history`, `csv` and `scalars`")
        return self

    def curves(self) -> History:
        if self.history is not None:
            return self.history.curves()
        return _of_scalars(self.scalars) if self.scalars is not None else _of_table(self.csv or "")


@router.post("", responses=problems(*JSON_BODY))
def diagnose_history(training: ForeignTraining, caller: CallerDep) -> DiagnosisView:
    """Judge a history that another program has recorded; nothing is stored."""
    return DiagnosisView.of(diagnose(training.curves()))


@of_jobs.get("/diagnosis", responses=problems(JobNotFound, StorageUnavailable))
def get_diagnosis(job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep) -> DiagnosisView:
    """Judge a job by its epochs so far, and once it has succeeded by its counts and its dataset's audit too."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    epochs = [{name: getattr(row, name) for name in FIGURES} for row in metrics.epochs_of(session, job_id)]
    result = metrics.result_of(session, job_id)
    evaluation = None if result is None else _evaluation(services.blobs, dataset, result)
    audit = _read(services.blobs, f"datasets/{dataset.id}/audit.json") if dataset.owner is not None else None
    return DiagnosisView.of(diagnose(from_epochs(epochs), audit, evaluation, job.spec))


@of_jobs.get("/confusion", responses=problems(JobNotFound, NotReady, StorageUnavailable))
def get_confusion(job_id: JobId, caller: CallerDep, session: ReadSessionDep, services: ServicesDep) -> ConfusionView:
    """Who was taken for whom: confusion matrices, precision, recall and F1, calibration, the surest mistakes."""
    job = jobs.find(session, caller.owner, job_id)
    result = metrics.result_of(session, job_id)
    stored = None if result is None else _read(services.blobs, metrics.evaluation_key(result))
    if stored is None:
        raise NotReady(job_id, "confusion matrix", shown_status(job.status, job.request))
    classes = stored["classes"]
    trained = [one["recall"] for one in stored["splits"]["train"]["per_class"]]
    return ConfusionView(
        object="confusion",
        classes=classes,
        splits={name: _scores(name, split, classes, trained) for name, split in stored["splits"].items()},
    )


def _scores(name: str, split: dict[str, Any], classes: list[str], trained: list[float | None]) -> SplitScores:
    def gap(label: int, recall: float | None) -> float | None:
        known = trained[label]
        return None if name == "train" or known is None or recall is None else known - recall

    return SplitScores(
        confusion=split["confusion"],
        per_class=[
            ClassScores(label=classes[label], gap=gap(label, one["recall"]), **one)
            for label, one in enumerate(split["per_class"])
        ],
        calibration_error=split["calibration_error"],
        mistakes=[
            Mistake(**{**one, "label": classes[one["label"]], "answer": classes[one["answer"]]})
            for one in split["mistakes"]
        ],
    )


def _evaluation(blobs: Blobs, dataset: DatasetRow, result: ResultRow) -> Evaluation:
    stored = _read(blobs, metrics.evaluation_key(result))
    if stored is None:
        return from_final(result.final, dataset.classes or ())
    confusion = {name: split["confusion"] for name, split in stored["splits"].items()}
    return from_final(result.final, dataset.classes or (), confusion, stored.get("last_epoch"))


def _read(blobs: Blobs, key: str) -> Any:
    """A small JSON file; None where there is none: results of earlier releases have no counts by class."""
    try:
        return json.loads(blobs.read(key))
    except BlobMissing:
        return None
