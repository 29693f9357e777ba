"""One attempt at measuring base and winner of a study on test: fetches their models, hands over what they say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from heldout.errors import SpecUnreadable
from heldout.lifecycle.job import FailureCode
from heldout.work.kinds import EvaluateSpec
from models.blobs import BlobMissing
from models.store import evaluations
from models.store.evaluations import TrainedModel
from worker.messages import EvaluateAssignment, Evaluated, FromTraining, StoredModel
from worker.supervision.process_attempt import CannotBegin, ModelGone, ProcessAttempt


class EvaluateAttempt(ProcessAttempt[EvaluateSpec]):
    """The evaluation of a study."""

    what = "Measuring on test"
    threads = 1
    _models: Mapping[str, TrainedModel]  # by job, known once it has its assignment

    def assignment(self, dataset: Path) -> EvaluateAssignment:
        spec = self.spec
        try:
            self._models = self.lease.read(lambda session: evaluations.models_of(session, [*spec.base, *spec.winner]))
        except SpecUnreadable as error:
            raise CannotBegin(FailureCode.INTERNAL, error.detail) from error
        has_folds = any(model.spec.folds is not None for model in self._models.values())
        relations = self.files.fetch_relations(self.claimed, self.folder, needed=has_folds)
        return EvaluateAssignment(
            dataset=str(dataset),
            base=self._fetched(spec.base),
            winner=self._fetched(spec.winner),
            # With folds each model has images of its own, and an ensemble none that all of its members were not
            # trained on.
            with_validation=not any(model.has_own_validation for model in self._models.values()),
            resident_bytes=self.memory.resident_bytes(),
            relations=None if relations is None else str(relations),
        )

    def _fetched(self, jobs: Sequence[str]) -> tuple[StoredModel, ...]:
        found = []
        for job_id in jobs:
            if job_id not in self._models:
                raise ModelGone(job_id)
            file = self.folder / f"{job_id}.keras"
            try:
                self.files.fetch(self._models[job_id].key, file)
            except BlobMissing as missing:
                raise ModelGone(job_id) from missing
            found.append(StoredModel(job_id, str(file), self._models[job_id].spec))
        return tuple(found)

    def settle(self, message: FromTraining) -> bool:
        if not isinstance(message, Evaluated):
            return False
        self.lease.settle(
            lambda session: evaluations.end(
                session,
                self.lease.held,
                tested=message.tested,
                ensemble=message.ensemble,
                gaps=message.gaps,
                models=self._models,
            )
        )
        return True
