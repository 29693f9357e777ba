"""Attempts at searches for wrong labels whose processes follow a script: what is stored, and how they end."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.arrays.dataset import FILES
from heldout.lifecycle.job import FailureCode
from heldout.stored.looks import make_features_key
from heldout.work.kinds import SuspectSpec
from models.database import Database
from models.digests import compute_file_digest
from models.store import file_digests, searches
from tests.worker.supervision.bench import ScriptedProcess, SearchBench
from worker.machine.enclosed_process import ProcessDied
from worker.messages import Failed, FromTraining, ResultWritten, SuspectAssignment

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class SuspectsBench(SearchBench):
    """A worker, and a queued search for wrong labels."""

    def search(self, answer: Callable[[SuspectAssignment], FromTraining | None]) -> list[ScriptedProcess]:
        """Also see that its process is ended, and leaves no names of images behind."""
        [process] = started = super().search(answer)
        assert process.killed
        assert not list((self.folder / "scratch").rglob("members.txt"))
        return started


@pytest.fixture
def bench(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SuspectsBench]:
    bench = SuspectsBench(database, tmp_path, monkeypatch, searches.SUSPECTS)
    yield bench
    bench.scratch.close()


def test_digests_of_files_from_an_earlier_release_are_stored_when_they_are_used(bench: SuspectsBench) -> None:
    bench.search(lambda _: Failed(FailureCode.DIVERGED, "It does not matter."))
    with bench.work.database.read() as session:
        for name in FILES:
            stored = file_digests.find(session, f"datasets/{bench.work.dataset.sha256}/{name}")
            assert stored == compute_file_digest(bench.folder / name)


def test_findings_are_stored_and_the_process_gets_the_names_of_the_images(bench: SuspectsBench) -> None:
    dataset_id = bench.work.dataset.id
    bench.blobs.put(f"datasets/{dataset_id}/members.txt", b"0/a.png\n")

    def find(assignment: SuspectAssignment) -> FromTraining:
        file = assignment.scratch / "suspects.json"
        given = assignment.dataset
        file.write_text(json.dumps({"names": given.names.read_text(), "relations": given.relations}))
        return ResultWritten(file)

    bench.search(find)
    assert (bench.job.status, bench.dataset_status) == ("succeeded", "stored")
    stored = json.loads(bench.blobs.read(f"datasets/{dataset_id}/suspects.json"))
    assert stored == {"names": "0/a.png\n", "relations": None}


def test_the_process_gets_the_features_of_the_dataset_if_there_are_any(bench: SuspectsBench) -> None:
    bench.blobs.put(make_features_key(bench.work.dataset.id), b"features")
    read: list[bytes] = []

    def find(assignment: SuspectAssignment) -> FromTraining:
        read.append(assignment.features.read_bytes())
        file = assignment.scratch / "suspects.json"
        file.write_text("{}")
        return ResultWritten(file)

    bench.search(find)
    assert read == [b"features"]


def die(_: SuspectAssignment) -> FromTraining:
    raise ProcessDied(-9)


def test_a_process_that_dies_is_tried_three_times(bench: SuspectsBench) -> None:
    for attempt in (1, 2, 3):
        bench.work.set(bench.job_id, available_at=None)
        assert bench.dataset_status == "queued"
        bench.search(die)
        assert bench.job.failures == attempt
    assert (bench.job.status, bench.dataset_status) == ("failed", "failed")
    assert bench.job.error == {"code": "process_died", "detail": str(ProcessDied(-9))}


def test_a_search_that_takes_too_long_fails(bench: SuspectsBench) -> None:
    bench.work.set(bench.job_id, spec=SuspectSpec(max_runtime_s=1e-6).model_dump())
    bench.search(lambda _: None)
    assert (bench.job.status, bench.job.error["code"]) == ("failed", "deadline")


def test_a_worker_that_stops_releases_the_search(bench: SuspectsBench) -> None:
    def stop(_: SuspectAssignment) -> None:
        bench.stopping.set()

    bench.search(stop)
    assert (bench.job.status, bench.job.failures, bench.dataset_status) == ("queued", 0, "queued")


def test_a_waiting_training_ends_the_search_which_is_queued_again(bench: SuspectsBench) -> None:
    """No failure is counted, so this can happen any number of times."""
    submitted: list[str] = []

    def submit(_: SuspectAssignment) -> None:
        if not submitted:
            submitted.append(bench.work.submit())

    bench.search(submit)
    assert (bench.job.status, bench.job.failures, bench.dataset_status) == ("queued", 0, "queued")
    assert [bench.work.claim().held.job_id for _ in range(2)] == [submitted[0], bench.job_id]


def test_a_canceled_search_ends(bench: SuspectsBench) -> None:
    def cancel(_: SuspectAssignment) -> None:
        if bench.job.request is None:
            bench.work.set(bench.job_id, request="cancel")

    bench.search(cancel)
    assert (bench.job.status, bench.dataset_status) == ("cancelled", "failed")
