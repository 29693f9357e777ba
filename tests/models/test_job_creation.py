"""Submitting without HTTP: what a transaction queues and returns, and what remains after a rollback."""

from collections.abc import Sequence

import pytest
from sqlalchemy import event, select

from analysis.jobs.examination import RetrySpec
from heldout.errors import InvalidSpec
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from models import job_creation
from models.blobs import Blobs
from models.database import Database
from models.tables import DatasetRow, EventRow, JobRow
from models.wake import WakeUp
from tests.models.work import ALICE, Work

MAX_PARAMETERS = 1_000_000
NO_FILES = Blobs("memory:///")
# A spec for the images of `dots`, which have 4×4 pixels.
LEAST = {"dataset": "dots", "network": {"blocks": [{"filters": 3}]}}
UNKNOWN_CLASS = {**LEAST, "training": {"class_weights": {"neither": 2.0}}}


def spec(**changes: object) -> JobSpec:
    return JobSpec.model_validate({**LEAST, **changes})


def submitted(work: Work, asked: JobSpec, owner: str = ALICE) -> tuple[JobRow, DatasetRow]:
    with work.database.write() as session:
        return job_creation.create_job(session, NO_FILES, owner, asked, max_parameters=MAX_PARAMETERS)


def stored_ids(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(JobRow.id))) | set(session.scalars(select(EventRow.subject_id)))


class Reconciling:
    """Submits specs in one transaction, as the reconciler does, and records what is published after the commit."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.published: list[tuple[WakeUp, bool]] = []
        database.announce = self.announce

    def announce(self, wake_ups: Sequence[WakeUp]) -> None:
        stored = stored_ids(self.database)
        self.published += [(wake_up, wake_up.job_id in stored) for wake_up in wake_ups]

    def submit_all(self, specs: list[JobSpec]) -> list[str]:
        with self.database.write() as session:
            made = [
                job_creation.create_job(session, NO_FILES, ALICE, spec, max_parameters=MAX_PARAMETERS) for spec in specs
            ]
        return [job.id for job, _ in made]


def test_several_jobs_are_submitted_in_one_transaction_and_announced_after_it(work):
    caller = Reconciling(work.database)
    cpu, gpu, several = caller.submit_all(
        [spec(), spec(resources={"device": "gpu"}), spec(resources={"gpus": 2}, metadata={"team": "a"})]
    )
    assert caller.published == [
        (WakeUp(cpu, "train"), True),
        (WakeUp(gpu, "train.gpu"), True),
        (WakeUp(several, "train.gpu"), True),
    ]
    for job_id in (cpu, gpu, several):
        assert work.row(job_id).status is JobStatus.QUEUED
        missing = [] if job_id == cpu else ["job.warning"]  # no worker with a GPU is known
        assert work.event_types(job_id) == ["job.queued", *missing]
    assert work.claim().held.job_id == cpu


def test_nothing_is_stored_or_announced_if_one_job_is_refused(work):
    caller = Reconciling(work.database)
    with pytest.raises(InvalidSpec, match="no such class"):
        caller.submit_all([spec(), spec(), spec(**UNKNOWN_CLASS)])
    assert caller.published == []
    assert stored_ids(work.database) == set()


def test_a_spec_is_completed_and_otherwise_kept(work):
    asked = spec(priority=4, limits={"max_pending_s": 60, "keep_s": 90}, metadata={"team": "a"}, training={"epochs": 7})
    job, _ = submitted(work, asked)
    row = work.row(job.id)
    complete = JobSpec.model_validate(row.spec)
    assert complete.training.seed is not None
    assert complete.name == row.name == f"dots 3 · {job.id[-6:]}"
    assert complete.complete(name="x", seed=1) == complete
    drawn = complete.model_copy(update={"name": None, "training": complete.training.model_copy(update={"seed": None})})
    assert drawn == asked
    # 3 filters of 3×3 with a bias each on one channel; 3 inputs to 2 classes with a bias each.
    assert row.parameters == (9 + 1) * 3 + (3 + 1) * 2
    assert (row.owner, row.priority, row.epochs, row.user_metadata) == (ALICE, 4, 7, {"team": "a"})
    assert (row.pending_until - row.queued_at).total_seconds() == pytest.approx(60, abs=1)
    assert row.keep_s == 90
    assert (row.kind, row.device, row.gpus, row.dataset_id) == ("train", "auto", 0, work.dataset.id)


def test_the_returned_job_is_the_stored_one(work):
    handed, _ = submitted(work, spec(metadata={"team": "a"}))
    row = work.row(handed.id)
    names = [column.key for column in JobRow.__mapper__.column_attrs]
    unset = {"pending_until", "announced_at"}
    assert {name: getattr(handed, name) for name in names if name not in unset} == {
        name: getattr(row, name) for name in names if name not in unset
    }


def test_a_job_with_an_unreadable_spec_is_not_submitted_again(work):
    held = work.running()
    work.fail(held, "diverged")
    work.set(held.job_id, spec={**work.row(held.job_id).spec, "from_a_newer_release": True})
    with work.database.write() as session, pytest.raises(InvalidSpec, match="/from_a_newer_release"):
        job_creation.retry(session, NO_FILES, ALICE, held.job_id, RetrySpec(), max_parameters=MAX_PARAMETERS)
    assert stored_ids(work.database) == {held.job_id}


def test_a_submission_takes_six_statements(work):
    counted: list[str] = []
    event.listen(work.database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    for metadata, expected in (({}, ["owners", "jobs"]), ({"team": "a"}, ["jobs", "job_metadata"])):
        with work.database.write() as session:
            counted.clear()
            job_creation.create_job(session, NO_FILES, ALICE, spec(metadata=metadata), max_parameters=MAX_PARAMETERS)
            tables = [statement.split("INTO ")[-1].split()[0] for statement in counted if "INSERT" in statement]
            assert len([statement for statement in counted if not statement.startswith("BEGIN")]) == 6
            assert tables == [*expected, "events"]
