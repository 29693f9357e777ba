"""Attempts at experiments whose processes follow a script: only figures are kept, and idle ones stop for others."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from analysis.arrays.dataset import save
from analysis.studies.state import Scores
from heldout.lifecycle.job import StopReason
from heldout.proofs.spec import ProofBudget
from models import proofs
from models.database import Database
from models.store import calibrations
from models.store.proofs import find_unproven
from models.tables import ArtifactRow, CheckpointRow, JobRow, ProofRow
from tests.models.test_proofs import Proving
from tests.models.work import ENGINE, dots, final_of
from tests.worker.supervision.bench import Bench, ScriptedProcess, script_process
from worker.messages import Finished, FirstStep, Started, StopCause

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class ExperimentBench(Bench):
    """A worker, and an ended job whose verdict is to be proven."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(database, folder, poll_s=0.05)
        monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(folder))
        monkeypatch.setattr(calibrations, "estimate_rest_s", lambda *_: None)
        save(dots(), folder)
        self.proving = Proving(self.work, self.blobs)

    def row(self) -> ProofRow:
        return self.proving.row


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExperimentBench]:
    bench = ExperimentBench(database, tmp_path, monkeypatch)
    yield bench
    bench.scratch.close()


def finish(assignment):
    assert assignment.is_experiment
    yield Started({**ENGINE, "towers": 1})
    yield FirstStep()
    images = np.arange(4, dtype=np.int32)
    scores = Scores(images, np.zeros(4, np.float32), np.array([True, False, True, True]))
    yield Finished(final_of(1, with_test=False), StopReason.COMPLETED, (), scores=scores, recalls=((1, 2), (2, 2)))


def test_an_experiment_keeps_its_figures_alone_and_continues_the_proof(
    bench: ExperimentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_process(monkeypatch, finish)
    bench.proving.order(ProofBudget(trainings=3, seconds=3600))
    before = set(bench.row().trials)
    while (claimed := bench.work.claim()) is not None:
        assert bench.run(claimed).status == "succeeded"
    trials = bench.row().trials
    assert set(trials) > before or bench.row().status == "ended"
    assert {trial["figures"]["right"] for trial in trials.values()} == {"b"}
    with bench.work.database.read() as session:
        of_experiments = ArtifactRow.job_id.startswith("exp_"), CheckpointRow.job_id.startswith("exp_")
        assert not session.scalars(select(ArtifactRow).where(of_experiments[0])).all()
        assert not session.scalars(select(CheckpointRow).where(of_experiments[1])).all()


@pytest.mark.parametrize("is_automatic", [True, False])
def test_only_an_experiment_that_no_one_asked_for_gives_way(
    bench: ExperimentBench, monkeypatch: pytest.MonkeyPatch, is_automatic: bool
) -> None:
    stops: list[StopCause] = []
    clock = threading.Event()
    monkeypatch.setattr(ScriptedProcess, "stop", lambda self, why: stops.append(why), raising=False)

    def wait(assignment):
        yield Started({**ENGINE, "towers": 1})
        for _ in range(40):
            yield None
            clock.wait(0.05)
        yield from finish(assignment)

    script_process(monkeypatch, wait)
    bench.proving.order(is_automatic=is_automatic)
    claimed = bench.work.claim()
    assert claimed is not None
    bench.work.submit()  # someone waits
    row = bench.run(claimed)
    assert stops == [StopCause.RELEASE] * is_automatic
    assert row.status == ("queued" if is_automatic else "succeeded")
    assert row.failures == 0


def test_a_worker_at_rest_begins_the_proof_of_a_recent_job_for_less_than_it_took(bench: ExperimentBench) -> None:
    bench.work.set(bench.proving.job, runtime_s=30.0)
    with bench.work.database.write() as session:
        job = find_unproven(session, ())
        assert job is not None
        proofs.create_idle_proof(session, bench.blobs, job, 60, max_parameters=10**7)
    row = bench.row()
    assert row.is_automatic
    assert row.budget["work"] == pytest.approx(1.0)
    with bench.work.database.read() as session:
        assert find_unproven(session, ()) is None
        kinds = set(session.scalars(select(JobRow.kind).where(JobRow.id.startswith("exp_"))))
    assert kinds <= {"idle_experiment"}
