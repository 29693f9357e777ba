"""One attempt at writing a model for another runtime: fetches what its process needs, stores what was proven."""

from pathlib import Path

from heldout.errors import FileOfLaterRelease, JobNotFound, SpecUnreadable
from heldout.kinds import ExportSpec
from heldout.lifecycle import FailureCode
from heldout.settings import Settings
from heldout.stored.artifacts import MODEL_SUFFIXES, ExportFormat
from models.blobs import BlobMissing
from models.model_card import model_card_of
from models.store import exports
from models.store.claims import Claimed
from models.store.exports import ExportSource
from worker.machine.cores import JobCores
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.messages import ExportAssignment, Exported, FromTraining
from worker.supervision.lease import AttemptLease
from worker.supervision.process_attempt import CannotBegin, ProcessAttempt


class ExportAttempt(ProcessAttempt):
    """An export of a training's model."""

    what = "The export"
    threads = 1

    def __init__(
        self,
        claimed: Claimed,
        spec: ExportSpec,
        lease: AttemptLease,
        *,
        settings: Settings,
        scratch: Scratch,
        memory: MemoryBudget,
        cores: JobCores,
    ) -> None:
        super().__init__(
            claimed,
            lease,
            max_runtime_s=spec.max_runtime_s,
            settings=settings,
            scratch=scratch,
            memory=memory,
            cores=cores,
        )
        self._spec = spec

    def assignment(self, dataset: Path) -> ExportAssignment:
        job_id = self._spec.job_id
        try:
            source = self.lease.read(lambda session: exports.source_of(session, job_id))
            card = self.lease.read(lambda session: model_card_of(session, self.lease.blobs, job_id))
        except (SpecUnreadable, FileOfLaterRelease) as error:
            raise CannotBegin(FailureCode.INTERNAL, error.detail) from error
        except JobNotFound as error:
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, error.detail) from error
        if source is None:
            raise _model_gone(job_id)
        model, predictions = self._fetched(source)
        needed = source.predictions is None and source.spec.folds is not None
        relations = self.files.fetch_relations(self.claimed, self.folder, needed=needed)
        return ExportAssignment(
            job_id=job_id,
            format=self._spec.format,
            spec=source.spec,
            dataset=str(dataset),
            dataset_sha256=self.claimed.dataset_sha256,
            scratch=str(self.folder),
            card=card,
            model=str(model),
            predictions=None if predictions is None else str(predictions),
            relations=None if relations is None else str(relations),
        )

    def _fetched(self, source: ExportSource) -> tuple[Path, Path | None]:
        model, predictions = self.folder / "trained.keras", self.folder / "predictions.npz"
        try:
            self.files.fetch(source.model, model)
        except BlobMissing as missing:
            raise _model_gone(self._spec.job_id) from missing
        if source.predictions is None:
            return model, None
        try:
            self.files.fetch(source.predictions, predictions)
        except BlobMissing as missing:
            detail = f"The predictions of {self._spec.job_id}, with which it is compared, are no longer stored."
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, detail) from missing
        return model, predictions

    def settle(self, message: FromTraining) -> bool:
        if not isinstance(message, Exported):
            return False
        held, job_id, format_ = self.lease.held, self._spec.job_id, self._spec.format
        self.lease.require()
        key = None
        if format_ is not ExportFormat.KERAS:
            # Among the training's own files: they go together. No two attempts write the same one.
            key = f"jobs/{job_id}/exports/{held.job_id}-{held.attempt}{MODEL_SUFFIXES[format_]}"
            self.lease.blobs.put(key, Path(message.file))
        self.lease.settle(lambda session: exports.mark_stored(session, held, job_id, message.report, key=key))
        if key is not None and not self.lease.read(lambda session: exports.is_named(session, key)):
            self.lease.forget([key])  # the training was deleted, or the export cancelled
        return True


def _model_gone(job_id: str) -> CannotBegin:
    return CannotBegin(FailureCode.MODEL_UNAVAILABLE, f"The model of {job_id} is no longer stored.")
