"""Derives versions while their worker or process is killed at random moments, and checks what becomes of them."""

import os
import random
import signal
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from heldout.client.client import Client
from heldout.views.dataset import DatasetView
from host.check import check_deep
from models.blobs import Blobs
from models.database import Database
from tests.e2e.running import children_of, command_of, lives, until
from tests.e2e.stack import Program, Stack
from tests.worker.ingest.uploads import arrays_of, npz

IMAGES = 2000
# A third failure ends a job.
KILLS_OF_EACH = 2
# The longest time between the start of a process and its kill: some kills hit the storing of results, some come late.
LONGEST_WAIT_S = 2.0


def derive_under_kills(stack: Stack, folder: Path, kills: int, **environment: str) -> int:
    """Derive versions under this many kills, of a worker or a process in turn. Return the number of versions.

    Each becomes ready once, with the content that the same changes give undisturbed. No other file is left.
    """
    chance = random.Random(kills)
    with stack.client() as client:
        base = client.datasets.create({"name": "fixed"})
        client.datasets.upload(base.id, npz(folder / "fixed.npz", **arrays_of(IMAGES, (28, 28))))
        until(lambda: client.datasets.get(base.id).status == "ready", "the ingest of the base")
        versions, done = list[DatasetView](), 0
        while done < kills:
            changes = {"exclude": [len(versions)], "pixel_values": {"train": "invert"}}
            versions.append(client.datasets.fix(base.id, changes).view)
            for _ in range(min(KILLS_OF_EACH, kills - done)):
                until(lambda: _processes(stack) or not _is_open(client, versions[-1].id), "a derivation, or its end")
                [(process, worker), *_] = _processes(stack).items() or [(0, None)]
                time.sleep(chance.uniform(0, LONGEST_WAIT_S))  # a random moment
                if worker is None or not _is_open(client, versions[-1].id):
                    break  # it ended first
                if done % 2 == 0:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                else:
                    worker.kill()
                    stack.start_worker(wait=False, **environment)
                done += 1
                until(lambda gone=process: not lives(gone), "the end of the process", within_s=10)  # type: ignore[misc]
            _ended(client, versions[-1].id)  # the next processes then belong to the next version
        for number, version in enumerate(versions):
            ready = _ended(client, version.id)
            assert ready.status == "ready", ready
            again = client.datasets.fix(base.id, {"exclude": [number], "pixel_values": {"train": "invert"}})
            assert _ended(client, again.id).sha256 == ready.sha256
    database = Database(stack.database_url)
    try:
        _require_in_order(database, Blobs(stack.environment["HELDOUT_BLOBS"]), versions)
    finally:
        database.dispose()
    return len(versions)


def _require_in_order(database: Database, blobs: Blobs, versions: list[DatasetView]) -> None:
    """Check that each version became ready once, that every file named by a row is complete, and that there are no
    others.
    """
    with database.read() as session:
        query = text("SELECT count(*) FROM events WHERE subject_id = :id AND type = 'dataset.ready'")
        assert {session.scalar(query, {"id": version.id}) for version in versions} == {1}
    found = check_deep(database, blobs, Path("unused"), collect=False, young=timedelta(0))
    assert (found.faults, found.orphans) == ([], [])


def _is_open(client: Client, dataset_id: str) -> bool:
    return client.datasets.get(dataset_id).status == "checking"


def _ended(client: Client, dataset_id: str) -> DatasetView:
    return until(
        lambda: (now := client.datasets.get(dataset_id)).status != "checking" and now, f"the end of {dataset_id}"
    )


def _processes(stack: Stack) -> dict[int, Program]:
    """Return the processes that derive versions, each with its worker."""
    return {
        pid: worker
        for worker in stack.workers
        if worker.lives()
        for pid in children_of(worker.pid)
        if b"worker.ingest.child\0derive" in command_of(pid)
    }
