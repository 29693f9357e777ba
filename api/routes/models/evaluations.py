"""Evaluations of uploaded models, with their confusion matrices and diagnosis."""

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field

from api.http.auth import CallerContext
from api.http.body import Body
from api.http.deps import EvaluationId, ReadContext, WriteContext
from api.http.forms import IN_BLOCKS, answer_in_form
from api.http.idempotency import IdempotentRequestDep
from api.http.parameters import AskedPage, make_page, make_page_dependency
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.live.source import Channel, ChannelKind
from api.live.streams import Accept
from api.routes.long_poll import LongPoll, describe_not_changed, make_long_poll, write_etag
from heldout import errors
from heldout.documents.evaluation import lay_out_evaluation
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.results import Measurement
from heldout.views.diagnosis import DiagnosisView
from heldout.views.model import EvaluationPage, EvaluationView
from heldout.views.results import ConfusionView
from models import model_evaluation
from models.database import Session
from models.store import model_evaluations
from models.stored_files import find_and_read
from models.tables import DatasetRow, JobRow
from models.views.evaluation import build_confusion_view, build_evaluation_view

router = make_router("/v1/evaluations", "models")


class NewEvaluation(Body):
    """The model to measure, and the dataset to measure it on."""

    model: str = Field(max_length=40, description="The id of one of your models, `mod_…`.")
    dataset: str = Field(
        min_length=1,
        max_length=160,
        description="A name (which stands for its newest ready version), `name@version`, or an id `ds_…`.",
    )


@router.post(
    "", status_code=201, response_description="The queued evaluation. A worker measures the model on every split."
)
@raises(
    errors.SpecModelNotFound,
    errors.ModelUnavailable,
    errors.ModelDoesNotFit,
    errors.SpecDatasetNotFound,
    errors.DatasetUnavailable,
    *NO_ROOM,
)
def evaluate_model(wanted: NewEvaluation, context: WriteContext, idempotent: IdempotentRequestDep) -> EvaluationView:
    """Measure an uploaded model on every split of a dataset, in the same way as a job's kept weights."""

    def create() -> EvaluationView:
        return build_evaluation_view(
            *model_evaluation.create_evaluation(context.session, context.owner, wanted.model, wanted.dataset), None
        )

    return idempotent.make(context.session, wanted, create)


@router.get("")
def list_evaluations(
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("evl")],
    model: Annotated[str | None, Query(max_length=40, description="Only evaluations of this model, `mod_…`.")] = None,
) -> EvaluationPage:
    """List your evaluations, newest first."""
    rows, more = model_evaluations.list_page(
        context.session, context.owner, model=model, after=asked.after, limit=asked.limit
    )
    measured = model_evaluations.get_measurements(context.session, [job for job, _ in rows])
    data = [build_evaluation_view(job, dataset, measured.get(job.id)) for job, dataset in rows]
    return make_page(EvaluationPage, data, has_more=more)


@router.get("/{evaluation_id}", response_model=EvaluationView, responses=describe_not_changed("evaluation"))
async def get_evaluation(
    evaluation_id: EvaluationId,
    context: CallerContext,
    poll: Annotated[LongPoll, make_long_poll("evaluation")],
) -> Response | EvaluationView:
    """Get an evaluation, now or once it has changed: its figures with their intervals."""

    def find() -> EvaluationView:
        with context.read() as session:
            return _build_view(session, *model_evaluations.find(session, context.owner, evaluation_id))

    return await poll.wait_for_latest(Channel(ChannelKind.JOB, evaluation_id), find)


@router.get("/{evaluation_id}/confusion")
@raises(errors.EvaluationNotReady, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_evaluation_confusion(evaluation_id: EvaluationId, context: ReadContext) -> ConfusionView:
    """Get the confusion matrices of each split, and the most confident mistakes."""
    job, dataset = model_evaluations.find(context.session, context.owner, evaluation_id)
    scores = find_and_read(context.session, context.blobs, job.id, StoredEvaluation)
    if scores is None:
        raise errors.EvaluationNotReady(job.id, job.status.value, "confusion")
    return build_confusion_view(scores, dataset.id)


@router.get("/{evaluation_id}/diagnosis", response_model=DiagnosisView, responses=IN_BLOCKS)
@raises(errors.EvaluationNotReady, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_evaluation_diagnosis(
    evaluation_id: EvaluationId, context: ReadContext, response: Response, accept: Accept = ""
) -> Response | DiagnosisView:
    """Diagnose why the model's test results are poor, without the curves of its training."""
    job, dataset = model_evaluations.find(context.session, context.owner, evaluation_id)
    measured = _get_measurement(context.session, job)
    if measured is None:
        raise errors.EvaluationNotReady(job.id, job.status.value, "diagnosis")
    diagnosis = model_evaluation.diagnose_evaluation(context.session, context.blobs, job, dataset, measured)
    view = DiagnosisView.of(diagnosis, dataset_id=dataset.id)
    evaluation = build_evaluation_view(job, dataset, measured)
    return answer_in_form(accept, response, view, lambda: lay_out_evaluation(evaluation, view))


_REQUESTED: dict[int | str, dict[str, Any]] = {
    202: {"model": EvaluationView, "description": "Running: its worker was asked to stop, now or earlier."}
}


@router.post(
    "/{evaluation_id}/cancel",
    response_description="The evaluation was waiting, and is now cancelled.",
    responses=_REQUESTED,
)
@raises(errors.EvaluationFinished)
def cancel_evaluation(evaluation_id: EvaluationId, context: WriteContext, response: Response) -> EvaluationView:
    """Cancel an evaluation. No results are kept."""
    model_evaluations.cancel(context.session, context.owner, evaluation_id)
    context.session.expire_all()
    view = _build_view(context.session, *model_evaluations.find(context.session, context.owner, evaluation_id))
    response.status_code = 200 if view.has_ended else 202
    response.headers["ETag"] = write_etag(view.version)
    return view


@router.delete("/{evaluation_id}", status_code=204)
@raises(errors.EvaluationNotFinished)
def delete_evaluation(evaluation_id: EvaluationId, context: WriteContext) -> None:
    """Delete an evaluation that has ended, with its figures. Its looks stay in the ledger."""
    model_evaluations.remove(context.session, context.owner, evaluation_id)
    context.delete_files(f"jobs/{evaluation_id}")


def _build_view(session: Session, job: JobRow, dataset: DatasetRow) -> EvaluationView:
    return build_evaluation_view(job, dataset, _get_measurement(session, job))


def _get_measurement(session: Session, job: JobRow) -> Measurement | None:
    return model_evaluations.get_measurements(session, [job]).get(job.id)
