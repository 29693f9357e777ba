"""The attempts of each kind of job. Imports no TensorFlow: training happens in a separate process."""

from collections.abc import Mapping
from typing import Any

from heldout.work.kinds import KINDS_OF_WORKERS, JobKind, require_all_kinds
from models.store.claims import Claimed
from worker.supervision.attempt import Attempt, Means
from worker.supervision.computed_attempts import EvaluateAttempt, ExportAttempt, SuspectAttempt
from worker.supervision.foreign_attempts import CheckModelAttempt, MeasureAttempt
from worker.supervision.ingest_attempts import IngestAttempt, RelateAttempt
from worker.supervision.lease import AttemptLease
from worker.supervision.training_attempt import TrainingAttempt

ATTEMPTS: Mapping[JobKind, type[Attempt[Any]]] = require_all_kinds(
    {
        JobKind.TRAIN: TrainingAttempt,
        JobKind.INGEST: IngestAttempt,
        JobKind.DERIVE: IngestAttempt,
        JobKind.RELATE: RelateAttempt,
        JobKind.SUSPECT: SuspectAttempt,
        JobKind.EVALUATE: EvaluateAttempt,
        JobKind.EXPORT: ExportAttempt,
        JobKind.CHECK_MODEL: CheckModelAttempt,
        JobKind.MEASURE: MeasureAttempt,
    },
    KINDS_OF_WORKERS,
)


def run_claimed(claimed: Claimed, lease: AttemptLease, means: Means) -> None:
    """Run one attempt to its end, in this thread. On return the job is settled, or belongs to another attempt."""
    ATTEMPTS[claimed.kind](claimed, claimed.spec, lease, means).run()
