"""Cancels of a training that continues: it keeps the weights of its complete epochs, however early the cancel comes."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.arrays.dataset import save
from heldout.lifecycle.job import JobStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import Database
from tests.models.work import ENGINE, dots
from tests.worker.supervision.bench import Bench, ScriptedProcess, script_process
from worker.messages import Assignment, FromTraining, Started, StopCause, Stopped, TrainedFile


class CancelBench(Bench):
    keeps_leases = True


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_is_canceled_while_it_starts_again_keeps_its_weights(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(dots(), tmp_path)
    monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(tmp_path))
    bench = CancelBench(database, tmp_path, poll_s=0.01)
    first = bench.work.running()
    bench.work.begin(first)
    bench.work.epoch(first, 1, train_loss=1.0)
    bench.work.checkpoint(first, 1)
    bench.blobs.put(f"jobs/{first.job_id}/1/1-0", b"state")
    bench.work.release(first)
    asked: list[StopCause] = []

    def script(assignment: Assignment) -> Iterator[FromTraining | None]:
        bench.work.cancel(first.job_id)
        while not asked:
            yield None
        file = assignment.scratch / "model.keras"
        file.write_bytes(b"weights")
        yield Started(dict(ENGINE, towers=1))
        yield Stopped(None, model=TrainedFile(ArtifactName.MODEL, ArtifactFormat.KERAS, file))

    monkeypatch.setattr(ScriptedProcess, "stop", lambda _, why: asked.append(why), raising=False)
    script_process(monkeypatch, script)
    row = bench.run()
    bench.scratch.close()
    assert row.status is JobStatus.CANCELLED
    [file] = bench.work.stored(first.job_id)["artifacts"]
    assert (file["attempt"], bench.blobs.read(file["key"])) == (2, b"weights")
