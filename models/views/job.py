"""Builds the view of a job, and selects the columns that it needs."""

from sqlalchemy.orm import load_only

from heldout.lifecycle.job import get_shown_status
from heldout.views.base import make_view
from heldout.views.job import DatasetReference, JobView, Progress
from models.specs import make_plan, read_training_spec
from models.tables import DatasetRow, JobRow

# Columns named like fields of the view, and those that other fields are computed from.
_NEEDED = {*JobView.model_fields, *Progress.model_fields, "request", "dataset_id", "backbone"}
JOB_COLUMNS = tuple(column.key for column in JobRow.__mapper__.column_attrs if column.key in _NEEDED)
DATASET_COLUMNS = (*DatasetReference.model_fields, "shape", "classes")

# Options for queries of jobs with their datasets. Reading any other column, which would be expensive, raises.
JOB_VIEW_ONLY = (
    load_only(*(getattr(JobRow, column) for column in JOB_COLUMNS), raiseload=True),
    load_only(*(getattr(DatasetRow, column) for column in DATASET_COLUMNS), raiseload=True),
)


def build_job_view(job: JobRow, dataset: DatasetRow) -> JobView:
    """Build the view of a job. Raises SpecUnreadable."""
    spec = read_training_spec(job)
    plan = make_plan(dataset, spec, job.backbone)
    frozen = spec.initial.freeze_blocks if spec.initial else 0
    return make_view(
        JobView,
        job,
        object="job",
        status=get_shown_status(job.status, job.request),
        stop_reason=job.stop_reason or None,
        spec=spec,
        dataset=build_dataset_reference(dataset),
        parameters=job.parameters or 0,
        trainable_parameters=None if plan is None else plan.trainable_parameters(frozen),
        progress=make_view(Progress, job),
        summary=job.summary or {},
        error=job.error or None,
        engine=job.engine or None,
    )


def build_dataset_reference(dataset: DatasetRow) -> DatasetReference:
    """Build the reference to a dataset in other views."""
    return make_view(DatasetReference, dataset)
