"""One attempt at measuring base and winner of a study on test: fetches their models, hands over what they say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from heldout.errors import SpecUnreadable
from heldout.kinds import EvaluateSpec
from heldout.lifecycle import FailureCode
from heldout.settings import Settings
from models.blobs import BlobMissing
from models.store import evaluations
from models.store.claims import Claimed
from models.store.evaluations import TrainedModel
from worker.machine.cores import JobCores
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.messages import EvaluateAssignment, Evaluated, FromTraining, StoredModel
from worker.supervision.lease import AttemptLease
from worker.supervision.process_attempt import CannotBegin, ProcessAttempt


class ModelGone(CannotBegin):
    """A job has no stored model."""

    def __init__(self, job_id: str) -> None:
        super().__init__(FailureCode.MODEL_UNAVAILABLE, f"The model of {job_id} is no longer stored.")


class EvaluateAttempt(ProcessAttempt):
    """The evaluation of a study."""

    what = "Measuring on test"
    threads = 1

    def __init__(
        self,
        claimed: Claimed,
        spec: EvaluateSpec,
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
        self._models: Mapping[str, TrainedModel] = {}

    def assignment(self, dataset: Path) -> EvaluateAssignment:
        spec = self._spec
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
            resident_bytes=self._memory.resident_bytes(),
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
