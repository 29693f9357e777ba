"""A training's model in another format, for whoever asks: ordered where nobody has done so, and why it is not there."""

from collections.abc import Callable
from dataclasses import dataclass

from heldout.errors import (
    DatasetNotFound,
    ExportDiffers,
    ExportFailed,
    ExportNotReady,
    ExportNotSupported,
    HeldoutError,
    JobNotFound,
)
from heldout.lifecycle import FailureCode, JobStatus
from heldout.quotas import Bounds
from heldout.stored.artifacts import ExportFormat, ExportStatus
from models.database import Database
from models.store import accounts, artifacts, exports, jobs, quotas
from models.store.keys import Caller
from models.tables import ExportRow
from models.wake import WakeUp


@dataclass(frozen=True)
class OrderedExport:
    """An export, and how the job stands that writes it."""

    row: ExportRow
    status: JobStatus | None

    @property
    def has_ended(self) -> bool:
        return self.row.status is not ExportStatus.QUEUED

    def stored(self) -> ExportRow:
        """The row of a proven file. Raises ExportNotReady, ExportNotSupported, ExportDiffers, ExportFailed."""
        if self.row.status is ExportStatus.QUEUED:
            raise ExportNotReady(self.row.job_id, self.row.format, self.status or JobStatus.QUEUED)
        if self.row.status is ExportStatus.FAILED:
            raise failure_of(self.row)
        return self.row


def asked_for(
    database: Database,
    quota: Bounds,
    publish: Callable[[WakeUp], None],
    caller: Caller,
    job_id: str,
    format_: ExportFormat,
) -> OrderedExport:
    """The export, which begins here if nobody has asked before.

    Raises:
        JobNotFound, NotReady, NoModel.
        DatasetNotFound: the dataset was deleted, and with it the images to compare on.
        QuotaExceeded, OwnerSuspended.
    """
    with database.read() as session:
        job, dataset = jobs.find_with_dataset(session, caller.owner, job_id)
        if artifacts.model_of(session, job) is None:
            raise artifacts.not_there(job, "model")
        row = exports.find(session, job_id, format_)
    if row is None:
        if dataset.sha256 is None:
            raise DatasetNotFound(dataset.name)
        with database.write() as session:
            accounts.note_key(session, caller.key_id)
            quotas.require_room(session, caller.owner, quota, *quotas.OF_NEW_JOBS)
            queued = exports.order(session, jobs.find(session, caller.owner, job_id), format_)
        if queued is not None:
            publish(WakeUp.for_job(queued.id, queued.gpus))
    with database.read() as session:
        row = exports.find(session, job_id, format_)
        if row is None:
            raise JobNotFound(job_id)  # deleted meanwhile
        return OrderedExport(row, exports.status_of(session, row))


def failure_of(row: ExportRow) -> HeldoutError:
    """Why an export that has failed is not handed out."""
    error = row.error or {}
    code, why = error.get("code"), str(error.get("detail", ""))
    if code == FailureCode.NOT_SUPPORTED:
        return ExportNotSupported(row.job_id, row.format, why)
    kind = ExportDiffers if code == FailureCode.EXPORT_DIFFERS else ExportFailed
    return kind(row.job_id, row.format, why)
