"""An attempt at a search whose process says what a test has written down: what is stored, and how it ends."""

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from analysis.arrays.dataset import FILES, save
from heldout.lifecycle.job import FailureCode
from heldout.service.settings import Settings
from heldout.work.kinds import SuspectSpec
from models.blobs import Blobs
from models.database import Database
from models.digests import compute_file_digest
from models.store import file_digests, suspects
from models.tables import DatasetRow, JobRow
from tests.models.work import ALICE, Work, dots
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.messages import Failed, FromTraining, SuspectAssignment, SuspectsFound
from worker.supervision import attempt as attempts
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.processes import ProcessDied
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import run_claimed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Script = Callable[[SuspectAssignment], FromTraining | None]


class Search:
    """A queued search, and a worker whose process is stood in for; the rest is real."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.work = Work(database)
        self.blobs = Blobs((folder / "blobs").as_uri())
        self.stopping = threading.Event()
        self.killed = False
        self.folder = folder
        self._monkeypatch = monkeypatch
        save(dots(), folder)
        with database.write() as session:
            self.job_id = suspects.queue(session, ALICE, self.work.dataset.id).id

    def run(self, script: Script) -> None:
        """One attempt; the process says what `script` gives, again and again."""

        class Scripted:
            pid = 0

            def __init__(process, assignment: SuspectAssignment, folder: Path) -> None:  # noqa: N805
                process.receive = lambda timeout_s: script(assignment)

            def kill(process) -> None:  # noqa: N805
                self.killed = True

            def last_lines(process) -> list[str]:  # noqa: N805
                return []

        patch = self._monkeypatch.setattr
        patch(attempts, "TrainingProcess", Scripted)
        patch("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(self.folder))
        patch("worker.machine.cores.pin_process", lambda *_: None)
        settings = Settings(home=self.folder / "home", poll_s=0.05)
        claimed = self.work.claim()
        scratch = Scratch(self.folder / "scratch")
        keeper = LeaseKeeper(self.work.database, settings, "worker", scratch.sign_of_life)
        lease = AttemptLease(
            claimed.held, database=self.work.database, blobs=self.blobs, keeper=keeper, stopping=self.stopping
        )
        keeper.start()
        with Cores().for_job() as cores:
            run_claimed(claimed, lease, Means(settings, scratch, MemoryBudget(2**30), cores))
        keeper.stop()
        assert self.killed
        assert not list((self.folder / "scratch").rglob("members.txt"))
        scratch.close()

    @property
    def job(self) -> JobRow:
        return self.work.row(self.job_id)

    @property
    def dataset_status(self) -> str:
        with self.work.database.read() as session:
            return session.get_one(DatasetRow, self.work.dataset.id).suspects_status


@pytest.fixture
def search(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    return Search(database, tmp_path, monkeypatch)


def test_what_the_files_of_a_dataset_of_an_earlier_release_are_is_noted_when_it_is_used(search: Search) -> None:
    search.run(lambda _: Failed(FailureCode.DIVERGED, "It does not matter."))
    with search.work.database.read() as session:
        for name in FILES:
            noted = file_digests.find(session, f"datasets/{search.work.dataset.sha256}/{name}")
            assert noted == compute_file_digest(search.folder / name)


def test_what_the_process_found_is_stored_with_the_names_that_it_was_given(search: Search) -> None:
    dataset_id = search.work.dataset.id
    search.blobs.put(f"datasets/{dataset_id}/members.txt", b"0/a.png\n")

    def found(assignment: SuspectAssignment) -> FromTraining:
        file = Path(assignment.scratch) / "suspects.json"
        given = assignment.dataset
        file.write_text(json.dumps({"names": Path(given.names).read_text(), "relations": given.relations}))
        return SuspectsFound(str(file))

    search.run(found)
    assert (search.job.status, search.dataset_status) == ("succeeded", "stored")
    stored = json.loads(search.blobs.read(f"datasets/{dataset_id}/suspects.json"))
    assert stored == {"names": "0/a.png\n", "relations": None}


def died(_: SuspectAssignment) -> FromTraining:
    raise ProcessDied(-9)


def test_a_process_that_dies_is_tried_three_times(search: Search) -> None:
    for attempt in (1, 2, 3):
        search.work.set(search.job_id, available_at=None)
        assert search.dataset_status == "queued"
        search.run(died)
        assert search.job.failures == attempt
    assert (search.job.status, search.dataset_status) == ("failed", "failed")
    assert search.job.error == {"code": "process_died", "detail": str(ProcessDied(-9))}


def test_what_another_attempt_would_only_repeat_fails_at_once(search: Search) -> None:
    search.run(lambda _: Failed(FailureCode.OUT_OF_MEMORY, "Too large."))
    assert (search.job.status, search.job.error["detail"]) == ("failed", "Too large.")


def test_a_search_that_takes_too_long_fails(search: Search) -> None:
    search.work.set(search.job_id, spec=SuspectSpec(max_runtime_s=1e-6).model_dump())
    search.run(lambda _: None)
    assert (search.job.status, search.job.error["code"]) == ("failed", "deadline")


def test_a_worker_that_stops_gives_the_search_back(search: Search) -> None:
    def stop(_: SuspectAssignment) -> None:
        search.stopping.set()

    search.run(stop)
    assert (search.job.status, search.job.failures, search.dataset_status) == ("queued", 0, "queued")


def test_a_training_that_waits_ends_the_search_at_once_and_it_begins_again_later(search: Search) -> None:
    """Released without a failure, so that it is searched again however often that happens."""
    submitted: list[str] = []

    def submit(_: SuspectAssignment) -> None:
        if not submitted:
            submitted.append(search.work.submit())

    search.run(submit)
    assert (search.job.status, search.job.failures, search.dataset_status) == ("queued", 0, "queued")
    assert [search.work.claim().held.job_id for _ in range(2)] == [submitted[0], search.job_id]


def test_a_search_that_is_cancelled_ends(search: Search) -> None:
    def cancel(_: SuspectAssignment) -> None:
        if search.job.request is None:
            search.work.set(search.job_id, request="cancel")

    search.run(cancel)
    assert (search.job.status, search.dataset_status) == ("cancelled", "failed")
