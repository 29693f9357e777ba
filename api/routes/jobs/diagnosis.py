"""A job's diagnosis, its confusion matrices, and the training images that were hard to learn."""

from typing import Annotated

from fastapi import Query

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.parameters import OnlyClass, PageLimit, PageStart
from api.http.problems import document_errors
from api.http.routing import make_router
from api.routes.datasets.dataset import note_shown_labels
from heldout.errors import (
    FileOfLaterRelease,
    InvalidParameter,
    JobNotFound,
    NoModel,
    NotReady,
    PredictionsLost,
    StorageUnavailable,
)
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import SplitName
from heldout.views.diagnosis import DiagnosisView
from heldout.views.results import CellView, ConfusionView, MemorizedPage, Mistake
from models.blobs import raise_if_missing
from models.job_diagnosis import diagnose_job
from models.predictions import build_memorized_page, list_cell_images, list_hardest_images
from models.store import artifacts, jobs
from models.stored_files import find_json_artifact, read_evaluation
from models.views.dataset import get_thumbnail_route
from models.views.evaluation import build_confusion_view

router = make_router("/v1/jobs/{job_id}", "jobs")


@router.get("/diagnosis", responses=document_errors(JobNotFound, StorageUnavailable, FileOfLaterRelease))
def get_diagnosis(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> DiagnosisView:
    """Diagnose a job from its epochs so far, and, once it has succeeded, also from its predictions and the audit."""
    job = jobs.find(session, caller.owner, job_id)
    diagnosis = diagnose_job(session, app.blobs, job)
    if any("test" in finding.evidence.get("wrong_labels", ()) for finding in diagnosis.findings):
        # The networks that found the wrong labels were trained on test labels.
        note_shown_labels(session, app, caller.owner, jobs.get_dataset(session, job))
    return DiagnosisView.of(diagnosis, dataset_id=job.dataset_id)


@router.get(
    "/confusion", responses=document_errors(JobNotFound, NotReady, NoModel, StorageUnavailable, FileOfLaterRelease)
)
def get_confusion(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> ConfusionView:
    """Show which classes are mistaken for which: confusion matrices, precision, recall, F1, calibration, mistakes.

    Matrices are given for up to 200 classes. The most confident mistakes come with file names and pictures.
    """
    job = jobs.find(session, caller.owner, job_id)
    stored = read_evaluation(app.blobs, find_json_artifact(session, job_id, ArtifactName.EVALUATION))
    if stored is None:
        raise artifacts.make_missing_error(job, "confusion matrix")
    return build_confusion_view(stored, job.dataset_id or "")


@router.get(
    "/confusion/images",
    responses=document_errors(JobNotFound, NotReady, NoModel, PredictionsLost, StorageUnavailable, FileOfLaterRelease),
)
def get_confused_images(
    job_id: JobId,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    label: Annotated[str, Query(max_length=256, description="A name in `classes`.")],
    answer: Annotated[str, Query(max_length=256, description="A name in `classes`.")],
    split: SplitName = "test",
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> CellView:
    """List the images behind a cell of a confusion matrix, most confident predictions first."""
    job = jobs.find(session, caller.owner, job_id)
    stored = read_evaluation(app.blobs, find_json_artifact(session, job_id, ArtifactName.EVALUATION))
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if stored is None or predictions is None:
        raise artifacts.make_missing_error(job, "confusion matrix")
    for name in (label, answer):
        if name not in stored.classes:
            raise InvalidParameter(
                f"There is no class {name[:64]!r}. The field `classes` of the confusion matrices lists all classes."
            )
    places = stored.classes.index(label), stored.classes.index(answer)
    with raise_if_missing(PredictionsLost(job_id)):
        images, count = list_cell_images(app.blobs, predictions.key, split, *places, limit, predictions.digest)
    return CellView(
        object="cell",
        label=label,
        answer=answer,
        count=count,
        images=[
            Mistake(
                **vars(image),
                thumbnail=get_thumbnail_route(job.dataset_id or "", image.index),
                label=label,
                answer=answer,
            )
            for image in images
        ],
    )


@router.get(
    "/memorized",
    responses=document_errors(JobNotFound, NotReady, NoModel, PredictionsLost, StorageUnavailable),
)
def list_memorized_images(
    job_id: JobId,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    class_: OnlyClass = None,
    limit: PageLimit = 20,
    after: PageStart = 0,
) -> MemorizedPage:
    """List training images by the sum of their losses over all epochs, hardest to learn first.

    A high sum means that an image is hard, unlike others of its class, or wrongly labeled.
    """
    job = jobs.find(session, caller.owner, job_id)
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if predictions is None:
        raise artifacts.make_missing_error(job, "losses of training images")
    classes = jobs.get_dataset(session, job).classes or []
    if class_ is not None and class_ not in classes:
        raise InvalidParameter(
            f"The job's dataset has no class {class_[:64]!r}. Its field `classes` lists all classes."
        )
    label = None if class_ is None else classes.index(class_)
    with raise_if_missing(PredictionsLost(job_id)):
        found = list_hardest_images(app.blobs, predictions.key, label, after, limit, predictions.digest)
    return build_memorized_page(found, classes, job.dataset_id or "", after)
