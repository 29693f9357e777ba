"""A worker that runs attempts in a test's folder, and stand-ins for the processes of attempts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from analysis.arrays.dataset import save
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.store import searches
from models.store.claims import Claimed
from models.tables import DatasetRow, JobRow
from tests.models.work import ALICE, Work, dots
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import Shares
from worker.messages import FromTraining
from worker.supervision import attempt
from worker.supervision.attempt import AttemptResources
from worker.supervision.lease import AttemptLease
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import ATTEMPTS

GIB = 2**30
# Returns the messages of a process, given its assignment. It may write files into the scratch folder first.
Script = Callable[[Any], Iterator[Any]]


class Bench:
    """A worker and a blob store in a folder, on the test's database."""

    # Whether a thread renews leases and looks for requests, as in a real worker.
    keeps_leases = False

    def __init__(self, database: Database, folder: Path, **settings: Any) -> None:
        self.work = Work(database)
        self.blobs = Blobs((folder / "blobs").as_uri())
        self.folder = folder
        self.scratch = Scratch(folder / "scratch")
        self.settings = Settings(home=folder / "home", **settings)
        self.shares = Shares(16 * GIB)
        self.cores = Cores()
        self.stopping = threading.Event()

    def make_keeper(self, database: Database | None = None) -> LeaseKeeper:
        return LeaseKeeper(database or self.work.database, self.settings, "worker", self.scratch.sign_of_life)

    def make_lease(self, claimed: Claimed, keeper: LeaseKeeper, database: Database | None = None) -> AttemptLease:
        database = database or self.work.database
        return AttemptLease(claimed.held, database=database, blobs=self.blobs, keeper=keeper, stopping=self.stopping)

    def run(self, claimed: Claimed | None = None, database: Database | None = None, **resources: Any) -> JobRow:
        """Run an attempt at the claimed job, or at the next job in the queue, to its end."""
        claimed = claimed or self.work.claim()
        assert claimed is not None
        keeper = self.make_keeper(database)
        if self.keeps_leases:
            keeper.start()
        try:
            with self.cores.for_job() as cores:
                lease = self.make_lease(claimed, keeper, database)
                given = AttemptResources(self.settings, self.scratch, self.shares, cores, **resources)
                ATTEMPTS[claimed.kind](claimed, claimed.spec, lease, given).run()
        finally:
            if self.keeps_leases:
                keeper.stop()
        self.work.set(claimed.held.job_id, available_at=None)  # the next attempt need not wait
        return self.work.row(claimed.held.job_id)


class SearchBench(Bench):
    """A worker, and a queued search through a dataset of alice's."""

    keeps_leases = True

    def __init__(
        self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: searches.Search
    ) -> None:
        super().__init__(database, folder, poll_s=0.05)
        self.monkeypatch = monkeypatch
        self.kind = kind
        monkeypatch.setattr("worker.supervision.attempt_files.hold_dataset", lambda *_: nullcontext(folder))
        save(dots(), folder)
        with database.write() as session:
            session.get_one(DatasetRow, self.work.dataset.id).owner = ALICE
            job = searches.queue(session, kind, ALICE, self.work.dataset.id)
            assert job is not None
            self.job_id = job.id

    def search(self, answer: Callable[[Any], FromTraining | None]) -> "list[ScriptedProcess]":
        """Run one attempt. Its process, if one starts, sends what `answer` returns, as often as it is asked."""
        started = script_process(self.monkeypatch, repeat(answer))
        self.run()
        return started

    @property
    def job(self) -> JobRow:
        return self.work.row(self.job_id)

    @property
    def dataset_status(self) -> str | None:
        with self.work.database.read() as session:
            return getattr(session.get_one(DatasetRow, self.work.dataset.id), self.kind.column)


class ScriptedProcess:
    """Stands in for the process of an attempt; everything else is real."""

    pid = 0

    def __init__(self, assignment: Any, script: Script) -> None:
        self.assignment = assignment
        self.killed = False
        self._messages = script(assignment)

    def receive(self, timeout_s: float) -> Any:
        return next(self._messages)

    def kill(self) -> None:
        self.killed = True

    def last_lines(self) -> list[str]:
        return []


def script_process(monkeypatch: pytest.MonkeyPatch, script: Script) -> list[ScriptedProcess]:
    """Replace the processes of attempts by ones that send what `script` returns. Returns those that were started."""
    started: list[ScriptedProcess] = []

    def start(assignment: Any, folder: Path) -> ScriptedProcess:
        started.append(ScriptedProcess(assignment, script))
        return started[-1]

    monkeypatch.setattr(attempt, "TrainingProcess", start)
    monkeypatch.setattr("worker.machine.cores.pin_process", lambda *_: None)
    return started


def repeat(answer: Callable[[Any], Any]) -> Script:
    """Make a script that sends the same answer to the assignment each time a message is awaited."""
    return lambda assignment: iter(lambda: answer(assignment), object())
