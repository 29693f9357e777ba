"""A job's diagnosis, also while it runs, and how its kept weights answer class by class."""

from typing import Annotated

from fastapi import Query

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.problems import problems
from api.http.routing import resource
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
from heldout.views.confusion import CellView, ConfusionView, Mistake
from heldout.views.diagnosis import DiagnosisView
from models.answered_images import images_of_cell
from models.blobs import BlobMissing
from models.job_diagnosis import diagnosis_of
from models.store import artifacts, jobs
from models.stored_files import json_artifact_of, read_evaluation
from models.views.confusion import confusion_view
from models.views.dataset import thumbnail_of

router = resource("/v1/jobs/{job_id}", "jobs")


@router.get("/diagnosis", responses=problems(JobNotFound, StorageUnavailable, FileOfLaterRelease))
def get_diagnosis(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> DiagnosisView:
    """Judge a job by its epochs so far, and once it has succeeded by its counts and its dataset's audit too."""
    job = jobs.find(session, caller.owner, job_id)
    return DiagnosisView.of(diagnosis_of(session, app.blobs, job), dataset_id=job.dataset_id)


@router.get("/confusion", responses=problems(JobNotFound, NotReady, NoModel, StorageUnavailable, FileOfLaterRelease))
def get_confusion(job_id: JobId, caller: CallerDep, session: ReadSessionDep, app: AppContextDep) -> ConfusionView:
    """Which classes are mistaken for which: confusion matrices, precision, recall, F1, calibration, worst mistakes."""
    job = jobs.find(session, caller.owner, job_id)
    stored = read_evaluation(app.blobs, json_artifact_of(session, job_id, ArtifactName.EVALUATION))
    if stored is None:
        raise artifacts.not_there(job, "confusion matrix")
    return confusion_view(stored, job.dataset_id or "")


@router.get(
    "/confusion/images",
    responses=problems(JobNotFound, NotReady, NoModel, PredictionsLost, StorageUnavailable, FileOfLaterRelease),
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
    """The images behind a cell of a confusion matrix, the surest answers first."""
    job = jobs.find(session, caller.owner, job_id)
    stored = read_evaluation(app.blobs, json_artifact_of(session, job_id, ArtifactName.EVALUATION))
    predictions = artifacts.find(session, job_id, ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)
    if stored is None or predictions is None:
        raise artifacts.not_there(job, "confusion matrix")
    for name in (label, answer):
        if name not in stored.classes:
            raise InvalidParameter(f"There is no class {name[:64]!r}; `classes` of the confusion matrices lists them.")
    places = stored.classes.index(label), stored.classes.index(answer)
    try:
        images, count = images_of_cell(app.blobs, predictions.key, split, *places, limit, predictions.digest)
    except BlobMissing as error:
        raise PredictionsLost(job_id) from error
    return CellView(
        object="cell",
        label=label,
        answer=answer,
        count=count,
        images=[
            Mistake(**vars(one), thumbnail=thumbnail_of(job.dataset_id or "", one.index), label=label, answer=answer)
            for one in images
        ],
    )
