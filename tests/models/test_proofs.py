"""Proofs on a database: experiments are queued, continued, cancelled and deleted, and nothing is lost in between."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from analysis.jobs.ledger import ReadKind
from heldout.errors import JobNotFinished, NothingToProve, ProofNotRunning, QuotaExceeded
from heldout.lifecycle.job import FailureCode, JobStatus, StopReason
from heldout.lifecycle.resources import ProofStatus
from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.experiment import Judgement
from heldout.proofs.figures import Figures, Split
from heldout.proofs.outcomes import Outcomes, Tried
from heldout.proofs.planning import Plan
from heldout.proofs.spec import ProofBudget
from heldout.work.kinds import JobKind
from models import proofs
from models.blobs import Blobs
from models.job_diagnosis import diagnose_job
from models.proof_subject import make_subject
from models.proof_view import build_proof_view
from models.store import accounts, claims, discards, jobs
from models.store import proofs as store
from models.store.claims import Claimed
from models.tables import DatasetRow, EventRow, JobRow, LabelReadRow, OwnerRow, ProofRow, UsageRow
from tests.models.work import ALICE, BOB, Work, sqlite_only

PLENTY = ProofBudget(trainings=9, seconds=3600)


class Proving:
    """An ended job, and what clients and workers do for its proof."""

    def __init__(self, work: Work, blobs: Blobs, **changes: Any) -> None:
        self.work, self.blobs = work, blobs
        held = work.running(training={"seed": 1, "epochs": 1}, **changes)
        work.begin(held)
        work.epoch(held, 1, train_accuracy=0.9, validation_accuracy=0.5, train_loss=0.2, validation_loss=0.7)
        work.succeed(held)
        self.job = held.job_id

    def order(self, budget: ProofBudget = PLENTY, *, is_automatic: bool = False) -> None:
        with self.work.database.write() as session:
            proofs.create_proof(
                session, self.blobs, ALICE, self.job, budget, max_parameters=10**7, is_automatic=is_automatic
            )

    def advance(self) -> None:
        with self.work.database.write() as session:
            proofs.advance(session, self.blobs, self.job, max_parameters=10**7)

    def claim(self) -> Claimed:
        claimed = self.work.claim()
        assert claimed is not None
        return claimed

    def end(self, claimed: Claimed, accuracy: float = 0.5, train: float = 0.9) -> JobStatus:
        figures = Figures(Split(train, 0.2, 64), Split(accuracy, 0.7, 4), "", 1)
        with self.work.database.write() as session:
            return proofs.keep_figures(session, claimed.held, figures, stop_reason=StopReason.COMPLETED)

    @property
    def row(self) -> ProofRow:
        with self.work.database.read() as session:
            return session.get_one(ProofRow, self.job)

    @property
    def experiments(self) -> list[JobRow]:
        with self.work.database.read() as session:
            return list(session.scalars(select(JobRow).where(JobRow.id.startswith("exp_")).order_by(JobRow.id)))

    def run_to_the_end(self, accuracy: float = 0.5) -> list[str]:
        """Return the variants in the order in which they were trained."""
        order = []
        while self.row.status is ProofStatus.RUNNING:
            while (claimed := self.work.claim()) is not None:
                order.append(claimed.spec.variant)
                self.end(claimed, accuracy)
            self.advance()
        return order


@pytest.fixture
def proving(work: Work, tmp_path: Path) -> Proving:
    return Proving(work, Blobs((tmp_path / "blobs").as_uri()))


def test_a_proof_trains_what_is_planned_and_ends(proving: Proving) -> None:
    proving.order()
    first = proving.experiments[0]
    assert (first.kind, first.status, first.owner) == (JobKind.EXPERIMENT, "queued", ALICE)
    assert (first.spec["evaluation"]["test"], first.spec["proves"]) == ("never", proving.job)
    order = proving.run_to_the_end()
    assert len(order) == len(set(order)) == len(proving.experiments) <= PLENTY.trainings
    assert proving.row.reason in {"budget", "nothing_left", "proven"}
    with proving.work.database.read() as session:
        view = build_proof_view(session, proving.blobs, proofs.look(session, proving.blobs, ALICE, proving.job))
        used = session.execute(select(UsageRow.jobs).where(UsageRow.kind == JobKind.EXPERIMENT)).scalars().all()
    assert {trial.status for trial in view.trials} == {"succeeded"}
    assert view.spent.trainings == len(order) == sum(used)


@sqlite_only
def test_experiments_are_no_jobs_of_their_owner(proving: Proving) -> None:
    proving.order()
    experiment = proving.experiments[0].id
    with proving.work.database.read() as session:
        listed = jobs.list_page(session, ALICE, jobs.Filters(), after=None, limit=10)
        streams = session.scalars(select(EventRow.owner).where(EventRow.subject_id == experiment)).all()
    assert listed == [proving.job]
    assert set(streams) == {None}


@sqlite_only
def test_the_same_order_gives_the_same_trainings_and_figures(proving: Proving) -> None:
    proving.order()
    proving.order()  # while it runs: nothing is queued twice
    specs = [experiment.spec for experiment in proving.experiments]
    assert len({spec["variant"] for spec in specs}) == len(specs)
    first, seeds = proving.run_to_the_end(), [row.spec["training"]["seed"] for row in proving.experiments]
    with proving.work.database.write() as session:
        session.delete(session.get_one(ProofRow, proving.job))
    proving.order()
    assert proving.run_to_the_end() == first
    assert [row.spec["training"]["seed"] for row in proving.experiments[len(seeds) :]] == seeds


@sqlite_only
def test_a_proof_continues_with_a_new_budget(proving: Proving) -> None:
    proving.order(ProofBudget(trainings=1, seconds=3600))
    assert len(proving.run_to_the_end()) == 1
    assert proving.row.reason == "budget"
    proving.order(ProofBudget(trainings=2, seconds=3600))
    assert 1 <= len(proving.run_to_the_end()) <= 2


@sqlite_only
def test_the_end_of_an_experiment_may_be_noted_twice(proving: Proving) -> None:
    proving.order()
    claimed = proving.claim()
    assert [proving.end(claimed), proving.end(claimed)] == [JobStatus.SUCCEEDED] * 2


@sqlite_only
def test_a_lost_worker_costs_a_try_and_nothing_else(proving: Proving) -> None:
    proving.order(ProofBudget(trainings=1, seconds=3600))
    lost = proving.claim()
    again = proving.work.claimed_again(lost.held)
    with pytest.raises(claims.LeaseLost), proving.work.database.write() as session:
        proofs.keep_figures(session, lost.held, Figures(Split(1, 0, 1)), stop_reason=StopReason.COMPLETED)
    assert again.job_id == lost.held.job_id
    assert not proving.row.trials[lost.spec.variant]["has_ended"]


@sqlite_only
def test_an_experiment_that_fails_for_good_is_left_open(proving: Proving) -> None:
    proving.order(ProofBudget(trainings=1, seconds=3600))
    claimed = proving.claim()
    proving.work.fail(claimed.held, FailureCode.DIVERGED)
    proving.advance()
    [trial] = proving.row.trials.values()
    assert (trial["error"], trial["figures"], trial["has_ended"]) == ("diverged", None, True)
    assert proving.row.status is ProofStatus.ENDED


@sqlite_only
def test_a_cancelled_proof_cancels_its_experiments_and_can_be_continued(proving: Proving) -> None:
    proving.order()
    with proving.work.database.write() as session:
        proofs.cancel(session, ALICE, proving.job)
    assert {row.status for row in proving.experiments} == {"cancelled"}
    assert proving.row.status is ProofStatus.CANCELLED
    with pytest.raises(ProofNotRunning), proving.work.database.write() as session:
        proofs.cancel(session, ALICE, proving.job)
    proving.order()
    assert proving.run_to_the_end()


def test_a_deleted_job_takes_its_experiments_along(proving: Proving) -> None:
    proving.order()
    running = proving.claim()
    with proving.work.database.write() as session:
        removed = jobs.remove(session, ALICE, proving.job)
    assert set(removed) > {proving.job, running.held.job_id}.difference({None})
    assert not proving.experiments
    with proving.work.database.read() as session:
        assert not session.scalar(select(func.count()).select_from(ProofRow))
        assert not session.scalar(select(func.count()).select_from(EventRow).where(EventRow.subject_id.in_(removed)))
    with pytest.raises(claims.LeaseLost):
        proving.end(running)


@sqlite_only
def test_a_deleted_dataset_ends_the_proof(proving: Proving) -> None:
    with proving.work.database.write() as session:
        session.execute(update(DatasetRow).values(owner=ALICE))
    proving.order()
    with proving.work.database.write() as session:
        discards.remove(session, ALICE, "dots")
    assert {row.status for row in proving.experiments} == {"cancelled"}
    proving.advance()
    assert proving.row.status is ProofStatus.CANCELLED


@sqlite_only
def test_a_full_quota_delays_a_proof_and_loses_nothing(proving: Proving) -> None:
    proving.order(ProofBudget(trainings=3, seconds=3600))
    while (claimed := proving.work.claim()) is not None:
        proving.end(claimed)
    before = len(proving.experiments)
    with proving.work.database.write() as session:
        session.execute(update(OwnerRow).where(OwnerRow.owner == ALICE).values(quotas={"queued_jobs": 0}))
    proving.advance()
    with pytest.raises(QuotaExceeded):
        proving.order()
    assert (len(proving.experiments), proving.row.status) == (before, ProofStatus.RUNNING)
    with proving.work.database.write() as session:
        session.execute(update(OwnerRow).where(OwnerRow.owner == ALICE).values(quotas=None))
    assert proving.run_to_the_end()


@sqlite_only
def test_idle_experiments_yield_to_everything_that_someone_waits_for(proving: Proving) -> None:
    proving.order(is_automatic=True)
    assert {row.kind for row in proving.experiments} == {JobKind.IDLE_EXPERIMENT}
    with proving.work.database.write() as session:
        accounts.ensure_owner(session, BOB)
    training = proving.work.submit(priority=-100)
    assert proving.claim().held.job_id == training
    proving.order()  # someone asks for it
    assert {row.kind for row in proving.experiments if row.status == "queued"} == {JobKind.EXPERIMENT}
    assert not proving.row.is_automatic


@sqlite_only
@pytest.mark.parametrize(("asked", "reads"), [("final", ["test"]), ("never", [])])
def test_test_labels_are_noted_before_an_experiment_uses_them(
    work: Work, tmp_path: Path, asked: str, reads: list[str]
) -> None:
    proving = Proving(work, Blobs((tmp_path / "blobs").as_uri()), evaluation={"test": asked})
    job = work.row(proving.job)
    with work.database.write() as session:
        subject = replace(
            make_subject(session, proving.blobs, job), verdict="split_shift", probabilities={"split_shift": 1.0}
        )
        if asked == "never":
            subject = replace(subject, figures=replace(subject.figures, test=None))
        [variant] = EXPERIMENTS["resplit"].make_variants(subject)
        row = ProofRow(job_id=job.id, owner=ALICE, is_automatic=False)
        trial = proofs._queue(session, proving.blobs, job, subject, variant, row, 10**7)
        noted = session.scalars(select(LabelReadRow).where(LabelReadRow.what == ReadKind.EXPERIMENT)).all()
        assert [(read.split, read.subject_id) for read in noted] == [(split, job.id) for split in reads]
    spec = work.row(trial["job"]).spec
    assert spec["evaluation"]["test"] == ("final" if reads else "never")
    assert spec["splits_again"] == ("all" if reads else "train_and_validation")


@sqlite_only
def test_a_running_job_and_one_without_figures_cannot_be_proven(proving: Proving) -> None:
    work = proving.work
    running = work.running()
    ended = work.submit()
    work.cancel(ended)
    for job_id, refusal in ((running.job_id, JobNotFinished), (ended, NothingToProve)):
        with pytest.raises(refusal), work.database.write() as session:
            proofs.create_proof(session, proving.blobs, ALICE, job_id, PLENTY, max_parameters=10**7)


@sqlite_only
def test_what_was_tried_is_part_of_the_jobs_verdict(proving: Proving) -> None:
    proving.order()
    proving.run_to_the_end()
    with proving.work.database.read() as session:
        tried = store.read_outcomes(session, proving.job).tried
        assert diagnose_job(session, proving.blobs, session.get_one(JobRow, proving.job)).tried == tried


@sqlite_only
def test_a_proof_and_the_diagnosis_say_the_same_even_where_no_one_can_tell(
    proving: Proving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first cause is refuted, and all that could be wrong: to the plan that is a training without a fault."""
    refuted = Judgement(
        "refuted", "It had ended.", dict.fromkeys(("diverged", "not_converged", "underfitting"), "refuted")
    )
    outcomes = Outcomes((Tried("longer", "Longer training", "Would it help?", refuted),))
    monkeypatch.setattr(proofs, "plan", lambda *_: Plan(outcomes, "healthy", {}, (), "proven"))
    proving.order()
    with proving.work.database.read() as session:
        view = build_proof_view(session, proving.blobs, proofs.look(session, proving.blobs, ALICE, proving.job))
        found = diagnose_job(session, proving.blobs, session.get_one(JobRow, proving.job))
    assert (view.verdict, view.certainty) == (found.verdict, None)
    assert view.verdict != "healthy"
    assert (view.status, view.reason) == (ProofStatus.ENDED, "nothing_left")
    assert "Proven" not in view.summary
