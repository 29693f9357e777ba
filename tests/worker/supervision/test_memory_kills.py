"""Attempts whose real processes are killed as if memory had run out. For trainings see test_attempt.py."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import update

from analysis.arrays.dataset import save
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import ModelFormat, ModelStatus
from heldout.spec.model_facts import ModelFacts
from heldout.work.memory import MemoryKill
from models.database import Database
from models.digests import compute_file_digest
from models.store import model_evaluations, models, relations
from models.store.claims import HeldAttempt, StartingPoint
from models.store.claims.claiming import InitialWeights
from models.tables import DatasetRow, JobRow, ModelRow
from tests.models.work import ALICE, Work, dots
from tests.worker.supervision.bench import GIB, Bench
from worker.machine.enclosed_process import ProcessDied
from worker.machine.shares import Share, Shares
from worker.supervision.attempt import AttemptResources
from worker.supervision.training_attempt import TrainingAttempt
from worker.supervision.training_files import fetch_initial

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MODEL, KEY = "mod_1", "models/mod_1/file"
FACTS = ModelFacts(format=ModelFormat.KERAS, input_shape=(4, 4, 1), output_shape=(2,), parameters=34)
NEIGHBOR = HeldAttempt("job_of_a_neighbor", 1)


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(tmp_path))
    (tmp_path / "model").write_bytes(b"a file that no process reads")
    save(dots(), tmp_path)
    bench = Bench(database, tmp_path)
    bench.shares = Shares(8 * GIB)
    yield bench
    bench.scratch.close()


@pytest.fixture
def work(bench: Bench) -> Work:
    return bench.work


def queue(bench: Bench, kind: str) -> str:
    """Queue the check of a model, the measuring of a model, or a search for copies. Each reserves 2 GiB."""
    work = bench.work
    bench.blobs.put(KEY, bench.folder / "model")
    with work.database.write() as session:
        stored = asdict(compute_file_digest(bench.folder / "model"))
        del stored["blocks"]
        model = models.add(session, ALICE, MODEL, "mine", key=KEY, **stored)
    job_id = model.check_job
    if kind == "measure":
        with work.database.write() as session:
            models.mark_ready(session, work.claim().held, MODEL, FACTS)
            job_id = model_evaluations.queue(session, ALICE, model, FACTS, work.dataset).id
    if kind == "relate":
        with work.database.write() as session:
            session.execute(update(DatasetRow).values(relations_status=None))
            session.execute(update(JobRow).values(status=JobStatus.PAUSED))
            job_id = relations.queue(session, work.dataset.id)
    work.set(job_id, memory_bytes=2 * GIB)
    return job_id


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Kill each process when its memory is read, as if memory had run out; its peak is then this many bytes."""

    def kill_at(peak_bytes: int) -> None:
        kills: list[int] = []

        def kill(pid: int) -> int:
            os.kill(pid, signal.SIGKILL)
            kills.append(pid)
            return peak_bytes

        monkeypatch.setattr("worker.supervision.attempt.read_peak_bytes", kill)
        monkeypatch.setattr("worker.supervision.attempt.count_memory_kills", lambda: len(kills))

    return kill_at


def run_next(bench: Bench) -> None:
    bench.run(bench.work.claim() or bench.work.claim_beside_slots())


def get_model(work: Work) -> ModelRow:
    with work.database.read() as session:
        return session.get_one(ModelRow, MODEL)


def test_a_model_whose_check_is_killed_for_its_own_memory_is_rejected_with_the_reason(
    bench: Bench, work: Work, kill_at
) -> None:
    job_id = queue(bench, "check")
    kill_at(3 * GIB)
    run_next(bench)
    model, row = get_model(work), work.row(job_id)
    assert (model.status, model.error["code"]) == (ModelStatus.REJECTED, "out_of_memory")
    assert model.error["detail"] == (
        "The check of the model was killed because memory ran out. It had 3,072 MiB when last seen; "
        "2,048 MiB were reserved for it. Upload a smaller model."
    )
    assert (row.status, row.error) == (JobStatus.FAILED, model.error)
    assert not list(bench.blobs.stored("models")), "its file is deleted"


def test_an_evaluation_that_is_killed_for_its_own_memory_fails_with_the_reason(
    bench: Bench, work: Work, kill_at
) -> None:
    job_id = queue(bench, "measure")
    kill_at(3 * GIB)
    run_next(bench)
    row = work.row(job_id)
    assert (row.status, row.failures, row.error["code"]) == (JobStatus.FAILED, 1, "out_of_memory")
    assert row.error["detail"].startswith("Measuring the model was killed because memory ran out. It had 3,072 MiB")
    assert get_model(work).status is ModelStatus.READY


@pytest.mark.parametrize("kind", ["check", "measure", "relate"])
def test_a_bystander_of_a_kill_for_memory_is_queued_again_and_its_model_stays(
    bench: Bench, work: Work, kill_at, kind: str
) -> None:
    job_id = queue(bench, kind)
    bench.shares.take(NEIGHBOR, Share(4 * GIB))
    kill_at(1 * GIB)
    run_next(bench)
    row = work.row(job_id)
    assert (row.status, row.failures, row.error) == (JobStatus.QUEUED, 0, None)
    assert row.memory_bytes == 4 * GIB, "more is reserved next time"
    assert get_model(work).status is not ModelStatus.REJECTED
    assert [blob.key for blob in bench.blobs.stored("models")] == [KEY]


def test_initial_weights_are_not_reported_as_unreadable_if_memory_ran_out(
    bench: Bench, work: Work, tmp_path: Path, kill_at
) -> None:
    work.set(work.submit(), memory_bytes=2 * GIB)
    claimed = work.claim()
    bench.blobs.put("initial", tmp_path / "model")
    started = replace(claimed, begins=StartingPoint(initial=InitialWeights("initial", (), is_uploaded=True)))
    kill_at(3 * GIB)
    with bench.cores.for_job() as cores, bench.make_lease(claimed, bench.make_keeper()) as lease:
        resources = AttemptResources(bench.settings, bench.scratch, bench.shares, cores)
        attempt = TrainingAttempt(started, started.spec, lease, resources)
        attempt.folder = tmp_path
        with pytest.raises(ProcessDied) as died:
            fetch_initial(attempt)
    assert attempt.watch.kill_of(died.value.exit_code) == MemoryKill(3 * GIB, 2 * GIB, is_alone=True)
