"""Jobs that measure the base and the winner of a study on the test split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.studies.state import TestScores
from heldout.lifecycle.job import JobRequest, JobStatus
from heldout.spec.job import JobSpec
from heldout.stored.gap import GapOnTest
from heldout.views.study import EnsembleView
from models.specs import read_training_spec
from models.store import artifacts, label_reads, metrics, studies
from models.store.claims import HeldAttempt, complete, has_succeeded, require_held
from models.tables import JobRow


@dataclass(frozen=True)
class TrainedModel:
    """The model of a training.

    key: the key of the `.keras` file in the blob store. epoch: the epoch of the kept weights.
    """

    key: str
    epoch: int
    spec: JobSpec

    @property
    def has_own_validation(self) -> bool:
        """Whether it was not validated on the dataset's validation split."""
        return self.spec.validation is not None


def find_models(session: Session, job_ids: Iterable[str]) -> dict[str, TrainedModel]:
    """Find the models of those jobs that succeeded and still have one. Raises SpecUnreadable."""
    found = {}
    for job in session.scalars(select(JobRow).where(JobRow.id.in_(list(job_ids)))):
        file, final = artifacts.find_model(session, job), metrics.get_final(session, job.id)
        if file is not None and final is not None:
            found[job.id] = TrainedModel(file.key, final.epoch, read_training_spec(job))
    return found


def end(
    session: Session,
    held: HeldAttempt,
    *,
    tested: TestScores,
    ensemble: EnsembleView,
    gaps: Mapping[str, GapOnTest],
    models: Mapping[str, TrainedModel],
) -> JobStatus:
    """End the job as succeeded, unless it was cancelled. Passes results to the study and test reads to the ledger.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    if not has_succeeded(session, held):
        job = require_held(session, held)  # a job is locked before its study
        for job_id, model in models.items():
            label_reads.add_for_job(session, job_id, "test", model.epoch)
        if job.study_id is not None and job.request is not JobRequest.CANCEL:
            studies.note_tested(session, job.study_id, tested, ensemble, gaps)
    return complete(session, held)
