"""A study advances as its jobs end: each training counts once, whichever process looks and whatever fails."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from analysis.studies import state
from analysis.studies.state import Purpose, RunKey, Scores
from heldout.errors import (
    DatasetInUse,
    PartOfStudy,
    StudyFinished,
    StudyNotContinuable,
    StudyNotFinished,
    StudyNotFound,
)
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.service.settings import Settings
from heldout.studies.spec import ContinueSpec, StudySpec
from heldout.views.study import StudyView
from models import study_creation
from models.blobs import Blobs
from models.continued_studies import continue_study
from models.database import Database
from models.reconcile import Reconciler
from models.store import claims, discards, evaluations, jobs, label_reads, studies, study_jobs
from models.store.claims import Claimed, Result
from models.store.listing import Filters
from models.store.study_steps import advance
from models.tables import DatasetRow, JobRow, StudyRunRow
from models.views.study import build_study_view
from models.wake import WakeUp
from tests.models.racing import Other
from tests.models.work import ALICE, BOB, Work, artifacts_of, final_of, page_of_jobs, spec, sqlite_only

IMAGES = 400
# The accuracy of each arm, and its mean loss.
RIGHT = {"base": (0.7, 0.9), "dropout": (0.95, 0.3), "l2": (0.7, 0.9)}


class Bench:
    """A client, a worker and a reconciler of studies. `announced` lists the published wake-ups."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.announced: list[WakeUp] = []
        self.database = Database(database.engine.url.render_as_string(hide_password=False), self.announced.extend)
        self.work = Work(self.database)
        self.blobs = Blobs((folder / "blobs").as_uri())

    def order(self, **asked) -> str:
        body = {"spec": spec().model_dump(mode="json"), "remedies": ["dropout", "l2"], "splits": "fixed", "seeds": 2}
        with self.database.write() as session:
            study_spec = StudySpec.model_validate({**body, **asked})
            return study_creation.create_study(session, self.blobs, ALICE, study_spec, max_parameters=10**6)[0].id

    def view(self, study_id: str) -> StudyView:
        with self.database.read() as session:
            return build_study_view(*studies.find(session, ALICE, study_id))

    def end(self, claimed: Claimed) -> None:
        """Let a training, or an evaluation on test, succeed as a worker does."""
        with self.database.write() as session:
            self.settle(session, claimed)

    def settle(self, session, claimed: Claimed) -> None:
        found = studies.find_run(session, claimed.held.job_id)
        if found is None:
            self._evaluate(session, claimed)
            return
        arm, purpose = found.arm, found.purpose
        seed = session.scalar(select(StudyRunRow.seed).where(StudyRunRow.job_id == claimed.held.job_id))
        made = None if purpose == Purpose.REFIT else scores_of(arm, seed)
        done = Result(final_of(1, with_test=False), artifacts_of(claimed.held), scores=made)
        claims.succeed(session, claimed.held, result=done, stop_reason=StopReason.COMPLETED)

    def _evaluate(self, session, claimed: Claimed) -> None:
        jobs_of = (*claimed.spec.base, *claimed.spec.winner)
        losses = {job: scores_of("base" if job in claimed.spec.base else "dropout", 50) for job in jobs_of}
        tested = state.TestScores({j: s.losses for j, s in losses.items()}, {j: s.right for j, s in losses.items()})
        models = evaluations.find_models(session, jobs_of)
        evaluations.end(session, claimed.held, tested=tested, ensemble=None, gaps={}, models=models)

    def run(self, study_id: str) -> StudyView:
        """Work until no job is left."""
        while (claimed := self.work.claim()) is not None:
            self.end(claimed)
        return self.view(study_id)

    def keys(self, study_id: str) -> list[tuple]:
        with self.database.read() as session:
            runs = studies.list_runs(session, study_id)
        return [(run.key.arm, run.key.purpose.value, run.key.seed) for run in runs]

    def reconcile(self) -> None:
        Reconciler(self.database, Settings()).run_once()


def scores_of(arm: str, seed: int) -> Scores:
    """Make scores, always the same for an arm and a seed."""
    right, loss = RIGHT.get(arm, RIGHT["base"])
    draws = np.random.default_rng([len(arm), seed])
    return Scores(
        images=np.arange(IMAGES, dtype=np.int32),
        losses=draws.gamma(1.0, loss, IMAGES).astype(np.float32),
        right=draws.random(IMAGES) < right,
        train_loss=0.1,
        train_accuracy=0.9,
        train_images=800,
        kept_epoch=3,
    )


@pytest.fixture
def bench(database: Database, tmp_path: Path):
    made = Bench(database, tmp_path)
    yield made
    made.database.dispose()


def test_a_study_runs_from_its_first_trainings_to_its_answer(bench: Bench) -> None:
    study_id = bench.order(metadata={"team": "a"}, priority=-7)
    first = bench.view(study_id)
    assert (first.status, first.progress.jobs, first.conclusion, first.finished_at) == ("running", 6, None, None)
    with bench.database.read() as session:
        found, _ = page_of_jobs(session, ALICE, Filters(study=study_id), after=None, limit=10)
        both, _ = page_of_jobs(session, ALICE, Filters(study=study_id, metadata={"team": "a"}), after=None, limit=10)
    queued = {job.id for job in found}
    assert {wake_up.job_id for wake_up in bench.announced} == queued == {job.id for job in both}
    assert len(queued) == 6
    with bench.database.write() as session:
        session.execute(update(DatasetRow).values(owner=ALICE))
    with pytest.raises(DatasetInUse, match=study_id), bench.database.write() as session:
        discards.remove(session, ALICE, bench.work.dataset.id)
    assert all((job.priority, job.study_id) == (-7, study_id) for job in found)
    assert all(job.spec["evaluation"]["test"] == "never" and job.spec["resources"]["towers"] == 1 for job in found)
    assert {job.spec["training"]["precision"] for job in found} == {"float32"}
    seeds_of = {
        name: {job.spec["training"]["seed"] for job in found if job.name.startswith(f"{name} ")} for name in RIGHT
    }
    assert seeds_of["base"] == seeds_of["dropout"] == seeds_of["l2"]
    assert spec().training.seed not in seeds_of["base"]

    ended = bench.run(study_id)
    assert (ended.status, ended.conclusion.kind, ended.conclusion.remedy) == ("succeeded", "cure", "dropout")
    assert ended.conclusion.test.winner.accuracy > ended.conclusion.test.base.accuracy
    base, winner = (next(arm for arm in ended.arms if arm.name == name) for name in ("base", "dropout"))
    gap, test = ended.conclusion.gap, ended.conclusion.test
    assert gap.to == "test"
    assert gap.base == pytest.approx(base.train.accuracy - test.base.accuracy)
    assert gap.winner == pytest.approx(winner.train.accuracy - test.winner.accuracy)
    assert ended.ledger.test_reads == 2 * next(arm.seeds for arm in ended.arms if arm.name == "base")
    keys = bench.keys(study_id)
    assert len(keys) == len(set(keys)) == ended.ledger.jobs
    assert [key for key in keys if key[1] == "refit"] == [("dropout", "refit", 0)]
    refit = bench.work.row(ended.conclusion.refit)
    assert (refit.status, refit.spec["training"]["epochs"]) == (JobStatus.SUCCEEDED, 3)
    types = bench.work.event_types(study_id)
    assert (types[0], types[-1]) == ("study.started", "study.succeeded")
    assert "study.arm_dropped" in types
    with bench.database.write() as session:
        discards.remove(session, ALICE, bench.work.dataset.id)  # an ended study no longer needs it


@sqlite_only
def test_an_arm_shows_provisional_means_until_it_is_compared_and_the_time_left_never_grows(bench: Bench) -> None:
    study_id = bench.order()
    left, ended_of, mean_of = [], {}, {}
    while (claimed := bench.work.claim()) is not None:
        with bench.database.read() as session:
            found = studies.find_run(session, claimed.held.job_id)
        bench.end(claimed)
        if found is not None:
            ended_of[found.arm] = ended_of.get(found.arm, 0) + 1
            seeds = range(ended_of[found.arm])
            mean_of[found.arm] = np.mean([scores_of(found.arm, seed).right.mean() for seed in seeds])
        view = bench.view(study_id)
        left.append(view.progress.eta_s)
        for arm in view.arms:
            if arm.validation is None:  # before the first look
                assert (arm.difference, arm.seeds) == (None, 0)
                assert (arm.provisional is None) == (arm.name not in ended_of)
                if arm.provisional is not None:
                    assert arm.provisional.seeds == ended_of[arm.name]
                    assert arm.provisional.accuracy == pytest.approx(mean_of[arm.name])
            else:
                assert arm.provisional is None
    etas = [eta for eta in left if eta is not None]
    assert etas == sorted(etas, reverse=True)
    assert len(etas) > 6
    assert left[-1] is None


@sqlite_only
def test_a_first_answer_takes_sixteen_trainings_and_goes_on_until_a_remedy_that_it_left_out_cures(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RIGHT, "augmentation", (0.72, 0.87))
    monkeypatch.setitem(RIGHT, "dropout", (0.7, 0.9))
    monkeypatch.setitem(RIGHT, "horizontal_flip", (0.95, 0.3))
    study_id = bench.order(remedies="auto", seeds=3)
    first = bench.run(study_id)
    assert (first.extent, len(first.arms), first.conclusion.kind) == ("first", 4, "cannot_tell")
    assert first.progress.jobs == first.ledger.jobs == 16
    assert sorted(arm.seeds for arm in first.arms) == [3, 3, 5, 5]
    assert first.arms[0].seeds == 5
    assert first.headline == "The study cannot tell yet what helps."
    assert "Continue" in first.summary
    assert "horizontal_flip" in first.left_out
    assert first.can_continue

    def go_on(**asked: object) -> StudyView:
        with bench.database.read() as reading, bench.database.write() as session:
            continue_study(
                session,
                bench.blobs,
                ALICE,
                study_id,
                ContinueSpec.model_validate(asked),
                max_parameters=10**6,
                reading=reading,
            )
        return bench.view(study_id)

    with pytest.raises(StudyNotContinuable, match="a budget of 17 allows no further look"):
        go_on(remedies="same", budget={"jobs": 17})
    again = go_on(remedies="same")
    assert (again.status, again.conclusion, again.finished_at) == ("running", None, None)
    assert all(arm.status == "racing" for arm in again.arms if arm.seeds)
    more = bench.run(study_id)
    assert (more.conclusion.kind, max(arm.seeds for arm in more.arms)) == ("cannot_tell", 8)
    assert {arm.name for arm in more.arms} == {arm.name for arm in first.arms}
    with pytest.raises(StudyNotContinuable, match="remedies: all"):
        go_on(remedies="same")

    go_on()
    last = bench.run(study_id)
    assert (last.conclusion.kind, last.conclusion.remedy) == ("cure", "horizontal_flip")
    assert {arm.name for arm in last.arms} == {*(arm.name for arm in first.arms), *first.left_out}
    assert (last.left_out, last.can_continue) == ([], False)
    keys = bench.keys(study_id)
    raced = [key for key in keys if key[1] == "race"]
    assert len(raced) == len(set(raced))
    assert len(keys) == last.ledger.jobs
    assert bench.work.event_types(study_id).count("study.continued") == 2
    with pytest.raises(StudyNotContinuable, match="has found a cure"):
        go_on()


def test_advancing_a_study_again_orders_nothing_twice(bench: Bench) -> None:
    study_id = bench.order()
    while (claimed := bench.work.claim()) is not None:
        before = bench.keys(study_id)
        for _ in range(2):
            with bench.database.write() as session:
                advance(session, study_id)
        assert bench.keys(study_id) == before
        bench.end(claimed)
    with bench.database.read() as session:
        of_study = select(func.count()).where(JobRow.study_id == study_id, JobRow.kind == "evaluate")
        assert session.scalar(of_study) == 1


def test_workers_that_end_the_last_trainings_of_a_look_at_once_advance_it_once(bench: Bench) -> None:
    """Each worker holds its job, and both want the study."""
    study_id = bench.order()
    *others, last_but_one, last = [bench.work.claim(f"worker {number}") for number in range(6)]
    for training in others:
        bench.end(training)
    with ThreadPoolExecutor(1) as pool:
        other = Other(bench.database, pool)
        with bench.database.write() as session:
            bench.settle(session, last_but_one)
            ends = other.submit(bench.end, last)
        ends.result()
    other.require_race()
    keys = bench.keys(study_id)
    assert len(keys) == len(set(keys)) > 6
    assert bench.view(study_id).progress.done == 6


def test_a_training_of_a_study_exists_once_with_and_without_folds(bench: Bench) -> None:
    study_id = bench.order()
    for key in (RunKey("base", Purpose.RACE, 90), RunKey("base", Purpose.RACE, 90, fold=2)):
        first, second = bench.work.submit(), bench.work.submit()
        with bench.database.write() as session:
            studies.add_run(session, study_id, first, key)
        with pytest.raises(IntegrityError), bench.database.write() as session:
            studies.add_run(session, study_id, second, key)


def test_a_reconciler_advances_a_study_that_the_end_of_a_job_did_not(bench: Bench) -> None:
    """Workers of a release without studies would end the jobs like this."""
    study_id = bench.order()
    for _ in range(6):
        claimed = bench.work.claim()
        with bench.database.write() as session:
            arm = studies.find_run(session, claimed.held.job_id).arm
            seed = int(claimed.name.split(" · ")[1].removeprefix("seed "))
            studies.add_scores(session, claimed.held.job_id, scores_of(arm, seed))
        bench.work.set(claimed.held.job_id, status=JobStatus.SUCCEEDED)
    del bench.announced[:]
    bench.reconcile()
    assert len(bench.keys(study_id)) > 6
    assert {wake_up.job_id for wake_up in bench.announced} == {
        job for arm in bench.view(study_id).arms for job in arm.jobs if bench.work.row(job).status is JobStatus.QUEUED
    }


def test_a_remedy_with_a_cancelled_training_is_dropped_with_its_other_trainings(bench: Bench) -> None:
    study_id = bench.order()
    first, second = next(arm for arm in bench.view(study_id).arms if arm.name == "l2").jobs
    bench.work.cancel(first)
    arm = next(arm for arm in bench.view(study_id).arms if arm.name == "l2")
    assert (arm.status, bool(arm.why)) == ("dropped", True)
    bench.reconcile()
    assert bench.work.row(second).status is JobStatus.CANCELLED
    assert bench.run(study_id).conclusion.remedy == "dropout"


def test_a_failed_base_fails_its_study_once_none_of_its_jobs_runs(bench: Bench) -> None:
    study_id = bench.order()
    by_name = {claimed.name.split(" · ")[0]: claimed for claimed in [bench.work.claim() for _ in range(6)]}
    bench.work.fail(by_name["base"].held, "diverged")
    assert bench.view(study_id).status == "running"
    bench.reconcile()
    for row in (bench.work.row(by_name[name].held.job_id) for name in ("dropout", "l2")):
        assert row.request == "cancel"
    for job in jobs_of(bench, study_id):
        if job.status is JobStatus.RUNNING:
            bench.work.stop_as_requested(claims.HeldAttempt(job.id, job.attempt))
    ended = bench.view(study_id)
    assert (ended.status, ended.error.code, ended.conclusion) == ("failed", "base_failed", None)
    assert "diverged" in ended.error.detail


def test_an_undecidable_study_fails_and_its_jobs_still_end(bench: Bench) -> None:
    study_id = bench.order()
    claimed = [bench.work.claim() for _ in range(6)]
    with bench.database.write() as session:
        studies.write(session, study_id, plan={"of": "a later release"})
    bench.end(claimed[0])  # others still run, so nothing is decided yet
    bench.work.fail(claimed[1].held, "diverged")
    assert bench.work.row(claimed[1].held.job_id).status is JobStatus.FAILED
    bench.reconcile()
    for training in claimed[2:]:
        bench.work.stop_as_requested(training.held)
    with bench.database.read() as session:
        row, _ = studies.find(session, ALICE, study_id)
        assert (row.status, row.error["code"]) == ("failed", "internal")


def jobs_of(bench: Bench, study_id: str) -> list[JobRow]:
    with bench.database.read() as session:
        return list(session.scalars(select(JobRow).where(JobRow.study_id == study_id)))


def test_a_cancelled_study_ends_with_its_last_job_and_is_deleted_with_all_its_jobs(bench: Bench) -> None:
    study_id, other = bench.order(), bench.work.submit(priority=-50)
    running = bench.work.claim()
    with bench.database.write() as session:
        label_reads.add_for_job(session, running.held.job_id, "validation", epoch=1)

    def cancel(owner: str = ALICE) -> None:
        with bench.database.write() as session:
            study_jobs.request_cancel(session, owner, study_id)
        bench.database.write_in_pieces(partial(study_jobs.cancel_some, study_id))

    with pytest.raises(StudyNotFound):
        cancel(BOB)
    cancel()
    cancel()
    assert bench.view(study_id).status == "running"
    with pytest.raises(StudyNotFinished), bench.database.write() as session:
        studies.remove(session, ALICE, study_id)
    bench.work.stop_as_requested(running.held)
    ended = bench.view(study_id)
    assert (ended.status, ended.ledger.validation_reads) == ("cancelled", 1)
    assert {job.status for job in jobs_of(bench, study_id)} == {JobStatus.CANCELLED}
    assert bench.work.event_types(study_id)[1:] == ["study.cancelling", "study.cancelled"]
    with pytest.raises(StudyFinished):
        cancel()
    with pytest.raises(PartOfStudy), bench.database.write() as session:
        jobs.remove(session, ALICE, running.held.job_id)
    with pytest.raises(StudyNotFound), bench.database.write() as session:
        studies.remove(session, BOB, study_id)
    with bench.database.write() as session:
        removed = studies.remove(session, ALICE, study_id)
    assert len(removed) == 6
    assert jobs_of(bench, study_id) == []
    assert not any(rows for id_ in (*removed, study_id) for rows in bench.work.stored(id_).values())
    assert bench.work.row(other).status is JobStatus.QUEUED


@sqlite_only
def test_each_size_of_a_learning_curve_is_shown_once_all_of_its_trainings_have_ended(bench: Bench) -> None:
    with bench.database.write() as session:
        splits = {split: {"count": IMAGES} for split in ("train", "validation", "test")}
        session.execute(update(DatasetRow).values(splits=splits))
    study_id = bench.order(kind="learning_curve", remedies="auto")
    shown = []
    while (claimed := bench.work.claim()) is not None:
        bench.end(claimed)
        shown.append(len(bench.view(study_id).sizes or ()))
    assert shown == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert bench.view(study_id).status == "succeeded"


@sqlite_only
def test_a_remedy_that_alone_chooses_its_epochs_by_validation_gets_a_warning(bench: Bench) -> None:
    kept = {"name": "dropout", "patch": {"training": {"early_stopping": {"monitor": "validation_loss", "patience": 3}}}}
    alone = bench.run(bench.order(remedies=[kept, "l2"]))
    assert [("chosen on the same validation images" in (arm.why or "")) for arm in alone.arms] == [False, True, False]
    base = spec(training={"early_stopping": {"monitor": "validation_loss", "patience": 3}}).model_dump(mode="json")
    both = bench.run(bench.order(spec=base))
    assert not any("chosen on the same validation images" in (arm.why or "") for arm in both.arms)
