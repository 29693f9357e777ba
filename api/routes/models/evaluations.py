"""Evaluations of uploaded models: order, list, get and wait, cancel, delete; their confusion and diagnosis."""

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.http.auth import CallerDep
from api.http.deps import (
    AppContextDep,
    DeleteFilesDep,
    EvaluationId,
    ReadSessionDep,
    SessionDep,
)
from api.http.idempotency import IdempotencyKey, once
from api.http.parameters import AskedPage, page_of
from api.http.problems import JSON_BODY, NO_ROOM, problems
from api.http.routing import resource
from api.live.recent_events import Channel, ChannelKind
from api.routes.long_poll import LongPoll, long_poll, not_changed, write_etag
from heldout.errors import (
    DatasetUnavailable,
    EvaluationFinished,
    EvaluationNotFinished,
    EvaluationNotFound,
    EvaluationNotReady,
    FileOfLaterRelease,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidCursor,
    ModelDoesNotFit,
    ModelUnavailable,
    SpecDatasetNotFound,
    SpecModelNotFound,
    StorageUnavailable,
)
from heldout.stored.artifacts import ArtifactName
from heldout.stored.measurement import Measurement
from heldout.views.confusion import ConfusionView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.evaluation import EvaluationPage, EvaluationView
from models import model_evaluation
from models.database import Session
from models.store import model_evaluations
from models.stored_files import json_artifact_of, read_evaluation
from models.tables import DatasetRow, JobRow
from models.views.confusion import confusion_view
from models.views.evaluation import evaluation_view

router = resource("/v1/evaluations", "models")


class NewEvaluation(BaseModel):
    """Which model is to be measured on which dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str = Field(max_length=40, description="`mod_…`, of the same owner.")
    dataset: str = Field(
        min_length=1, max_length=160, description="A name (its newest ready version), `name@version`, or an id `ds_…`."
    )


@router.post(
    "",
    status_code=201,
    response_description="Queued: a worker measures the model on every split.",
    responses=problems(
        *(SpecModelNotFound, ModelUnavailable, ModelDoesNotFit, SpecDatasetNotFound, DatasetUnavailable),
        *(IdempotencyKeyInFlight, IdempotencyKeyReused),
        *NO_ROOM,
        *JSON_BODY,
    ),
)
def evaluate_model(
    wanted: NewEvaluation,
    caller: CallerDep,
    session: SessionDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> EvaluationView:
    """Measure an uploaded model on every split of a dataset, as the kept weights of a job are."""

    def ordered() -> EvaluationView:
        return evaluation_view(*model_evaluation.order(session, caller.owner, wanted.model, wanted.dataset), None)

    return once(session, caller.owner, idempotency_key, "POST /v1/evaluations", wanted, response, ordered)


@router.get("", responses=problems(InvalidCursor))
def list_evaluations(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Annotated[AskedPage, page_of("evl")],
    model: Annotated[str | None, Query(max_length=40, description="Only those of this model, `mod_…`.")] = None,
) -> EvaluationPage:
    """The caller's evaluations, newest first."""
    rows, more = model_evaluations.page(session, caller.owner, model=model, after=asked.after, limit=asked.limit)
    measured = model_evaluations.measurements_of(session, [job for job, _ in rows])
    return EvaluationPage(
        object="list",
        data=[evaluation_view(job, dataset, measured.get(job.id)) for job, dataset in rows],
        has_more=more,
        next=rows[-1][0].id if more else None,
    )


@router.get(
    "/{evaluation_id}",
    response_model=EvaluationView,
    responses={**not_changed("evaluation"), **problems(EvaluationNotFound)},
)
async def get_evaluation(
    evaluation_id: EvaluationId,
    caller: CallerDep,
    app: AppContextDep,
    poll: Annotated[LongPoll, long_poll("evaluation")],
) -> Response | EvaluationView:
    """An evaluation, now or once it is news."""

    def find() -> EvaluationView:
        with app.database.read() as session:
            return _view(session, *model_evaluations.find(session, caller.owner, evaluation_id))

    return await poll.latest(Channel(ChannelKind.JOB, evaluation_id), find)


@router.get(
    "/{evaluation_id}/confusion",
    responses=problems(EvaluationNotFound, EvaluationNotReady, StorageUnavailable, FileOfLaterRelease),
)
def get_evaluation_confusion(
    evaluation_id: EvaluationId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep
) -> ConfusionView:
    """Which classes the model takes for which, split by split, and its surest mistakes."""
    job, dataset = model_evaluations.find(session, caller.owner, evaluation_id)
    scores = read_evaluation(app.blobs, json_artifact_of(session, job.id, ArtifactName.EVALUATION))
    if scores is None:
        raise EvaluationNotReady(job.id, job.status.value, "confusion")
    return confusion_view(scores, dataset.id)


@router.get(
    "/{evaluation_id}/diagnosis",
    responses=problems(EvaluationNotFound, EvaluationNotReady, StorageUnavailable, FileOfLaterRelease),
)
def get_evaluation_diagnosis(
    evaluation_id: EvaluationId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep
) -> DiagnosisView:
    """Why the model's test results are poor, as far as that is known without the curves of its training."""
    job, dataset = model_evaluations.find(session, caller.owner, evaluation_id)
    measured = _measured(session, job)
    if measured is None:
        raise EvaluationNotReady(job.id, job.status.value, "diagnosis")
    diagnosis = model_evaluation.diagnosis_of(session, app.blobs, job, dataset, measured)
    return DiagnosisView.of(diagnosis, dataset_id=dataset.id)


_ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": EvaluationView, "description": "It runs; its worker was asked to stop, now or before."}
}


@router.post(
    "/{evaluation_id}/cancel",
    response_description="It waited, and is cancelled.",
    responses={**_ASKED, **problems(EvaluationNotFound, EvaluationFinished)},
)
def cancel_evaluation(
    evaluation_id: EvaluationId, caller: CallerDep, session: SessionDep, response: Response
) -> EvaluationView:
    """Cancel an evaluation; nothing of it is kept."""
    model_evaluations.cancel(session, caller.owner, evaluation_id)
    session.expire_all()
    view = _view(session, *model_evaluations.find(session, caller.owner, evaluation_id))
    response.status_code = 200 if view.has_ended else 202
    response.headers["ETag"] = write_etag(view.version)
    return view


@router.delete("/{evaluation_id}", status_code=204, responses=problems(EvaluationNotFound, EvaluationNotFinished))
def delete_evaluation(
    evaluation_id: EvaluationId,
    caller: CallerDep,
    session: SessionDep,
    delete_files: DeleteFilesDep,
) -> None:
    """Delete an evaluation that has ended, with its figures. The ledger keeps its looks."""
    model_evaluations.remove(session, caller.owner, evaluation_id)
    delete_files(f"jobs/{evaluation_id}")


def _view(session: Session, job: JobRow, dataset: DatasetRow) -> EvaluationView:
    return evaluation_view(job, dataset, _measured(session, job))


def _measured(session: Session, job: JobRow) -> Measurement | None:
    return model_evaluations.measurements_of(session, [job]).get(job.id)
