"""What runs a claimed job, by its kind. Imports no TensorFlow: training happens in a process of its own."""

from collections.abc import Sequence
from typing import assert_never

from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.work.kinds import (
    CheckModelSpec,
    DeriveSpec,
    EvaluateSpec,
    ExportSpec,
    IngestSpec,
    MeasureSpec,
    RelateSpec,
    SuspectSpec,
)
from models.store.claims import Claimed
from worker.machine.cores import JobCores
from worker.machine.devices import Gpu
from worker.machine.memory_budget import MemoryBudget
from worker.machine.scratch import Scratch
from worker.supervision.check_model_attempt import CheckModelAttempt
from worker.supervision.evaluate_attempt import EvaluateAttempt
from worker.supervision.export_attempt import ExportAttempt
from worker.supervision.ingest_attempt import IngestAttempt
from worker.supervision.lease import AttemptLease
from worker.supervision.measure_attempt import MeasureAttempt
from worker.supervision.relate_attempt import RelateAttempt
from worker.supervision.suspect_attempt import SuspectAttempt
from worker.supervision.training_attempt import TrainingAttempt


def run_claimed(
    claimed: Claimed,
    lease: AttemptLease,
    *,
    settings: Settings,
    scratch: Scratch,
    memory: MemoryBudget,
    gpus: Sequence[Gpu],
    cores: JobCores,
    core_count: int,
    has_bfloat16: bool,
) -> None:
    """Run one attempt to its end, in this thread. The job is settled, or somebody else's, when this returns."""
    match claimed.spec:
        case JobSpec() as spec:
            attempt = TrainingAttempt(
                claimed,
                spec,
                lease,
                settings=settings,
                scratch=scratch,
                memory=memory,
                gpus=gpus,
                cores=cores,
                core_count=core_count,
                has_bfloat16=has_bfloat16,
            )
            attempt.run()
        case IngestSpec() | DeriveSpec() as spec:
            IngestAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case RelateSpec() as spec:
            RelateAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case SuspectSpec() as spec:
            SuspectAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case EvaluateSpec() as spec:
            EvaluateAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case ExportSpec() as spec:
            ExportAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case CheckModelSpec() as spec:
            CheckModelAttempt(
                claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores
            ).run()
        case MeasureSpec() as spec:
            MeasureAttempt(claimed, spec, lease, settings=settings, scratch=scratch, memory=memory, cores=cores).run()
        case unknown:  # mypy says so where a kind has nothing that runs it
            assert_never(unknown)
