"""Attempts whose real processes are killed as the kernel kills where memory runs out; trainings: test_attempt.py."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import update

from analysis.arrays.dataset import save
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import ModelFormat, ModelStatus
from heldout.service.settings import GIB, Settings
from heldout.spec.model_facts import ModelFacts
from heldout.work.memory import MemoryKill
from models.blobs import Blobs
from models.database import Database
from models.digests import compute_file_digest
from models.store import model_evaluations, models, relations
from models.store.claims import Claimed, HeldAttempt, StartingPoint
from models.store.claims.claiming import InitialWeights
from models.tables import DatasetRow, JobRow, ModelRow
from tests.models.work import ALICE, Work, dots
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import ProcessDied
from worker.supervision.threads import LeaseKeeper
from worker.supervision.training_attempt import TrainingAttempt
from worker.supervision.training_files import fetch_initial
from worker.supervision.worker import run_claimed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MODEL, KEY = "mod_1", "models/mod_1/file"
FACTS = ModelFacts(format=ModelFormat.KERAS, input_shape=(4, 4, 1), output_shape=(2,), parameters=34)
NEIGHBOUR = HeldAttempt("job_of_a_neighbour", 1)


@pytest.fixture
def work(database: Database) -> Work:
    return Work(database)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def queued(work: Work, blobs: Blobs, tmp_path: Path) -> Callable[[str], str]:
    """Queues the check of a model, the measuring of one that is ready, or a search for copies; 2 GiB are reserved."""
    (tmp_path / "model").write_bytes(b"a file that nobody gets to read")
    save(dots(), tmp_path)

    def queued(work_on_it: str) -> str:
        blobs.put(KEY, tmp_path / "model")
        with work.database.write() as session:
            stored = asdict(compute_file_digest(tmp_path / "model"))
            del stored["blocks"]
            model = models.add(session, ALICE, MODEL, "mine", key=KEY, **stored)
        if work_on_it == "measure":
            with work.database.write() as session:
                models.mark_ready(session, work.claim().held, MODEL, FACTS)
                job_id = model_evaluations.queue(session, ALICE, model, FACTS, work.dataset).id
        else:
            job_id = model.check_job
        if work_on_it == "relate":
            with work.database.write() as session:
                session.execute(update(DatasetRow).values(relations_status=None))
                session.execute(update(JobRow).values(status=JobStatus.PAUSED))
                job_id = relations.queue(session, work.dataset.id)
        work.set(job_id, memory_bytes=2 * GIB)
        return job_id

    return queued


@pytest.fixture
def lease_of(work: Work, blobs: Blobs, tmp_path: Path) -> Callable[[Claimed], AttemptLease]:
    def lease_of(claimed: Claimed) -> AttemptLease:
        return AttemptLease(
            claimed.held,
            database=work.database,
            blobs=blobs,
            keeper=LeaseKeeper(work.database, Settings(home=tmp_path / "home"), "worker", tmp_path / "alive"),
            stopping=threading.Event(),
        )

    return lease_of


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has each process killed, and counted as killed for memory, as soon as it is looked at and has this much."""

    def kill_at(peak_bytes: int) -> None:
        kills: list[int] = []

        def seen(pid: int) -> int:
            os.kill(pid, signal.SIGKILL)
            kills.append(pid)
            return peak_bytes

        monkeypatch.setattr("worker.supervision.attempt.read_peak_bytes", seen)
        monkeypatch.setattr("worker.supervision.attempt.count_memory_kills", lambda: len(kills))

    return kill_at


@pytest.fixture
def run_killed(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lease_of, kill_at):
    """Claims and runs the job that waits, and has its process killed."""
    monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(tmp_path))
    scratch = Scratch(tmp_path / "scratch")

    def run_killed(memory: MemoryBudget, *, peak_bytes: int) -> None:
        kill_at(peak_bytes)
        claimed = work.claim() or work.claim_beside_slots()
        with Cores().for_job() as cores:
            means = Means(Settings(home=tmp_path / "home"), scratch, memory, cores)
            run_claimed(claimed, lease_of(claimed), means)

    yield run_killed
    scratch.close()


def model_of(work: Work) -> ModelRow:
    with work.database.read() as session:
        return session.get_one(ModelRow, MODEL)


def test_a_model_whose_check_is_killed_for_its_own_memory_is_rejected_with_the_reason(
    work: Work, blobs: Blobs, queued, run_killed
) -> None:
    job_id = queued("check")
    run_killed(MemoryBudget(8 * GIB), peak_bytes=3 * GIB)
    model, row = model_of(work), work.row(job_id)
    assert (model.status, model.error["code"]) == (ModelStatus.REJECTED, "out_of_memory")
    assert model.error["detail"] == (
        "The check of the model was killed because memory ran out. It had 3,072 MiB when last seen; "
        "2,048 MiB were reserved for it. Upload a smaller model."
    )
    assert (row.status, row.error) == (JobStatus.FAILED, model.error)
    assert not list(blobs.stored("models")), "nobody can use its file any more"


def test_an_evaluation_that_is_killed_for_its_own_memory_fails_with_the_reason(work: Work, queued, run_killed) -> None:
    job_id = queued("measure")
    run_killed(MemoryBudget(8 * GIB), peak_bytes=3 * GIB)
    row = work.row(job_id)
    assert (row.status, row.failures, row.error["code"]) == (JobStatus.FAILED, 1, "out_of_memory")
    assert row.error["detail"].startswith("Measuring the model was killed because memory ran out. It had 3,072 MiB")
    assert model_of(work).status is ModelStatus.READY


@pytest.mark.parametrize("work_on_it", ["check", "measure", "relate"])
def test_a_bystander_of_a_kill_for_memory_is_queued_again_and_its_model_stays(
    work: Work, blobs: Blobs, queued, run_killed, work_on_it: str
) -> None:
    job_id, memory = queued(work_on_it), MemoryBudget(8 * GIB)
    memory.take(NEIGHBOUR, 4 * GIB)
    run_killed(memory, peak_bytes=1 * GIB)
    row = work.row(job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert row.memory_bytes == 4 * GIB, "next time more is reserved"
    assert model_of(work).status is not ModelStatus.REJECTED
    assert [one.key for one in blobs.stored("models")] == [KEY]


def test_weights_that_a_training_starts_from_are_not_called_unreadable_where_memory_ran_out(
    work: Work, blobs: Blobs, tmp_path: Path, lease_of, kill_at
) -> None:
    (tmp_path / "model").write_bytes(b"a file that nobody gets to read")
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    blobs.put("initial", tmp_path / "model")
    started = replace(claimed, begins=StartingPoint(initial=InitialWeights("initial", (), is_uploaded=True)))
    scratch = Scratch(tmp_path / "scratch")
    kill_at(3 * GIB)
    with Cores().for_job() as cores, lease_of(claimed) as lease:
        means = Means(Settings(home=tmp_path / "home"), scratch, MemoryBudget(8 * GIB), cores)
        attempt = TrainingAttempt(started, started.spec, lease, means)
        attempt.folder = tmp_path
        with pytest.raises(ProcessDied) as died:
            fetch_initial(attempt)
    scratch.close()
    assert attempt.watch.kill_of(died.value.exit_code) == MemoryKill(3 * GIB, 2 * GIB, is_alone=True)
