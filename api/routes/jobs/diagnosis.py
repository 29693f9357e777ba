"""A job's diagnosis, also while it runs, and how its kept weights answer class by class."""

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, JobId, ReadSessionDep
from api.http.problems import problems
from api.http.routing import resource
from api.routes.jobs.results import not_there
from heldout.errors import FileOfLaterRelease, JobNotFound, NoModel, NotReady, StorageUnavailable
from heldout.stored.artifacts import ArtifactName
from heldout.views.confusion import ConfusionView
from heldout.views.diagnosis import DiagnosisView
from models.job_diagnosis import diagnosis_of
from models.store import jobs
from models.stored_files import json_artifact_of, read_evaluation
from models.views.confusion import confusion_view

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
        raise not_there(job, "confusion matrix")
    return confusion_view(stored, job.dataset_id or "")
