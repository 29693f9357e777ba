"""Finds or creates the export of a model, and explains failed exports."""

from collections.abc import Callable
from dataclasses import dataclass

from heldout import errors
from heldout.access.rights import get_model_route
from heldout.lifecycle.job import FailureCode, JobStatus
from heldout.stored.artifacts import ExportFormat, ExportStatus
from models.database import Database, Session
from models.store import accounts, artifacts, exports, jobs
from models.store.keys import Caller
from models.tables import DatasetRow, ExportRow, JobRow


@dataclass(frozen=True)
class ModelSource:
    """The source of a model: a training, or the evaluation of a study's ensemble. id, name: as clients see them."""

    id: str
    name: str
    job: JobRow
    dataset: DatasetRow


# Finds the source, or raises the reason why there is no model.
Find = Callable[[Session], ModelSource]


@dataclass(frozen=True)
class FoundExport:
    """An export of a source, and the status of the job that writes it."""

    source_id: str
    source_name: str
    row: ExportRow
    status: JobStatus | None

    @property
    def has_ended(self) -> bool:
        return self.row.status is not ExportStatus.QUEUED

    def stored(self) -> ExportRow:
        """Return the row of an export that passed its check.

        Raises:
            ExportNotReady, ExportNotSupported, ExportDiffers, ExportFailed, ModelLost.
        """
        if self.row.status is ExportStatus.QUEUED:
            raise errors.ExportNotReady(self.source_id, self.row.format, self.status or JobStatus.QUEUED)
        if self.row.status is ExportStatus.FAILED:
            raise explain_failure(self.row, self.source_id)
        return self.row


def find_training_with_model(session: Session, caller: Caller, job_id: str) -> ModelSource:
    """Find the caller's job if it has a model. Raises JobNotFound, NotReady, NoModel."""
    job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
    if artifacts.find_model(session, job) is None:
        raise artifacts.make_missing_error(job, "model")
    return ModelSource(job_id, job.name, job, dataset)


def find_or_create(database: Database, caller: Caller, find: Find, format_: ExportFormat) -> FoundExport:
    """Find the export, or order it if it was never requested.

    Raises:
        DatasetNotFound: if the dataset was deleted, with the images to check the export on.
        QuotaExceeded, OwnerSuspended.
        Also everything that `find` raises.
    """
    with database.read() as session:
        source = find(session)
        row = exports.find(session, source.job.id, format_)
    if row is None:
        if source.dataset.sha256 is None:
            raise errors.DatasetNotFound(source.dataset.name)
        with database.write() as session:
            accounts.note_key(session, caller.key_id)
            exports.create_export(session, find(session).job, format_)
    with database.read() as session:
        row = exports.find(session, source.job.id, format_)
        if row is None:
            raise errors.JobNotFound(source.id)  # deleted meanwhile
        return FoundExport(source.id, source.name, row, exports.get_status(session, row))


def explain_failure(row: ExportRow, source_id: str) -> errors.HeldoutError:
    """Make the error that explains a failed export."""
    error = row.error or {}
    code, why = error.get("code"), str(error.get("detail", ""))
    if code == FailureCode.MODEL_UNAVAILABLE:
        return errors.ModelLost(source_id, wanted_as=row.format)
    if code in {FailureCode.DATASET_DAMAGED, FailureCode.ARTIFACT_DAMAGED}:
        then = f"Once it is restored, POST {get_model_route(source_id)}?format={row.format} exports it."
        return (errors.DatasetDamaged if code == FailureCode.DATASET_DAMAGED else errors.ArtifactDamaged)(
            f"{why} {then}"
        )
    if code == FailureCode.NOT_SUPPORTED:
        return errors.ExportNotSupported(source_id, row.format, why)
    kind = errors.ExportDiffers if code == FailureCode.EXPORT_DIFFERS else errors.ExportFailed
    return kind(source_id, row.format, why)
