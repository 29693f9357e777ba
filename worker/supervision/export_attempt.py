"""One attempt at writing a model for another runtime: fetches what its process needs, stores what was proven."""

from pathlib import Path

from heldout.errors import FileOfLaterRelease, JobNotFound, SpecUnreadable
from heldout.lifecycle.job import FailureCode
from heldout.work.kinds import ExportSpec
from models.blobs import BlobMissing
from models.model_card import model_card_of
from models.store import exports
from models.store.exports import ExportSource
from worker.messages import ExportAssignment, Exported, FromTraining
from worker.supervision.process_attempt import CannotBegin, ModelGone, ProcessAttempt


class ExportAttempt(ProcessAttempt[ExportSpec]):
    """An export of a training's model, or of a study's ensemble."""

    what = "The export"
    threads = 1

    def assignment(self, dataset: Path) -> ExportAssignment:
        job_id = self.spec.job_id
        try:
            source = self.lease.read(lambda session: exports.source_of(session, job_id))
            card = self.lease.read(lambda session: model_card_of(session, self.lease.blobs, job_id))
        except (SpecUnreadable, FileOfLaterRelease) as error:
            raise CannotBegin(FailureCode.INTERNAL, error.detail) from error
        except JobNotFound as error:
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, error.detail) from error
        if source is None:
            raise ModelGone(job_id)
        needed = not source.predictions and source.spec.folds is not None
        relations = self.files.fetch_relations(self.claimed, self.folder, needed=needed)
        return ExportAssignment(
            source_id=source.id,
            format=self.spec.format,
            spec=source.spec,
            dataset=str(dataset),
            dataset_sha256=self.claimed.dataset.sha256,
            scratch=str(self.folder),
            card=card,
            models=tuple(self._fetched(key, f"trained-{number}.keras") for number, key in enumerate(source.models)),
            predictions=self._predictions(source),
            relations=None if relations is None else str(relations),
        )

    def _fetched(self, key: str, name: str) -> str:
        try:
            self.files.fetch(key, self.folder / name)
        except BlobMissing as missing:
            raise ModelGone(self.spec.job_id) from missing
        return str(self.folder / name)

    def _predictions(self, source: ExportSource) -> tuple[str, ...]:
        try:
            return tuple(
                self._fetched(key, f"predictions-{number}.npz") for number, key in enumerate(source.predictions)
            )
        except ModelGone as missing:
            detail = f"The predictions of {source.id}, with which it is compared, are no longer stored."
            raise CannotBegin(FailureCode.EXPORT_FAILED, detail) from missing

    def settle(self, message: FromTraining) -> bool:
        if not isinstance(message, Exported):
            return False
        held, job_id = self.lease.held, self.spec.job_id
        self.lease.require()
        # Among the training's own files: they go together. No two attempts write the same one.
        key = f"jobs/{job_id}/exports/{held.job_id}-{held.attempt}{self.spec.format.facts.suffix}"
        self.lease.blobs.put(key, Path(message.file))
        self.lease.settle(lambda session: exports.mark_stored(session, held, job_id, message.report, key=key))
        if not self.lease.read(lambda session: exports.is_named(session, key)):
            self.lease.forget([key])  # the training was deleted, or the export cancelled
        return True
