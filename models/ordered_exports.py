"""A model in another format, for whoever asks: ordered where nobody has done so, and why it is not there."""

from collections.abc import Callable
from dataclasses import dataclass

from heldout.access.routes import get_model_route
from heldout.errors import (
    ArtifactDamaged,
    DatasetDamaged,
    DatasetNotFound,
    ExportDiffers,
    ExportFailed,
    ExportNotReady,
    ExportNotSupported,
    HeldoutError,
    JobNotFound,
    ModelLost,
)
from heldout.lifecycle.job import FailureCode, JobStatus
from heldout.stored.artifacts import ExportFormat, ExportStatus
from models.database import Database, Session
from models.store import accounts, artifacts, exports, jobs
from models.store.keys import Caller
from models.tables import DatasetRow, ExportRow, JobRow


@dataclass(frozen=True)
class ModelSource:
    """What has left a model: a training, or the evaluation of a study's ensemble. id, name: as clients know it."""

    id: str
    name: str
    job: JobRow
    dataset: DatasetRow


# Finds it, or raises why there is no model.
Find = Callable[[Session], ModelSource]


@dataclass(frozen=True)
class OrderedExport:
    """An export of a source, and how the job stands that writes it."""

    source_id: str
    source_name: str
    row: ExportRow
    status: JobStatus | None

    @property
    def has_ended(self) -> bool:
        return self.row.status is not ExportStatus.QUEUED

    def stored(self) -> ExportRow:
        """The row of a proven file.

        Raises:
            ExportNotReady, ExportNotSupported, ExportDiffers, ExportFailed, ModelLost.
        """
        if self.row.status is ExportStatus.QUEUED:
            raise ExportNotReady(self.source_id, self.row.format, self.status or JobStatus.QUEUED)
        if self.row.status is ExportStatus.FAILED:
            raise explain_failure(self.row, self.source_id)
        return self.row


def find_training_with_model(session: Session, caller: Caller, job_id: str) -> ModelSource:
    """The caller's job, which has a model. Raises JobNotFound, NotReady, NoModel."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    if artifacts.find_model(session, job) is None:
        raise artifacts.make_not_there(job, "model")
    return ModelSource(job_id, job.name, job, dataset)


def find_or_order(database: Database, caller: Caller, find: Find, format_: ExportFormat) -> OrderedExport:
    """The export, which begins here if nobody has asked before.

    Raises:
        What `find` does.
        DatasetNotFound: the dataset was deleted, and with it the images to compare on.
        QuotaExceeded, OwnerSuspended.
    """
    with database.read() as session:
        source = find(session)
        row = exports.find(session, source.job.id, format_)
    if row is None:
        if source.dataset.sha256 is None:
            raise DatasetNotFound(source.dataset.name)
        with database.write() as session:
            accounts.note_key(session, caller.key_id)
            exports.order(session, find(session).job, format_)
    with database.read() as session:
        row = exports.find(session, source.job.id, format_)
        if row is None:
            raise JobNotFound(source.id)  # deleted meanwhile
        return OrderedExport(source.id, source.name, row, exports.get_status(session, row))


def explain_failure(row: ExportRow, source_id: str) -> HeldoutError:
    """Why an export that has failed is not handed out."""
    error = row.error or {}
    code, why = error.get("code"), str(error.get("detail", ""))
    if code == FailureCode.MODEL_UNAVAILABLE:
        return ModelLost(source_id, wanted_as=row.format)
    if code in {FailureCode.DATASET_DAMAGED, FailureCode.ARTIFACT_DAMAGED}:
        then = f"Once it is restored, POST {get_model_route(source_id)}?format={row.format} exports it."
        return (DatasetDamaged if code == FailureCode.DATASET_DAMAGED else ArtifactDamaged)(f"{why} {then}")
    if code == FailureCode.NOT_SUPPORTED:
        return ExportNotSupported(source_id, row.format, why)
    kind = ExportDiffers if code == FailureCode.EXPORT_DIFFERS else ExportFailed
    return kind(source_id, row.format, why)
