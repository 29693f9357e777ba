"""An attempt at a derived version, with its real process: it ends well, elsewhere after a crash, or says why not."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, ImageSet, compute_content_address, save
from heldout.access.rights import Quota
from heldout.fixes.changes import VersionSpec
from heldout.lifecycle.job import JobStatus
from heldout.lifecycle.resources import DatasetStatus
from heldout.service.settings import Settings
from heldout.stored.audit import StoredAudit, audit_key
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import Database
from models.reconcile import discard_files
from models.store import datasets, discards, quotas, versions
from models.tables import DatasetRow
from tests.models.work import ALICE, Work
from worker.ingest.messages import IngestProgress, IngestReport, Related
from worker.ingest.parent import DeriveProcess
from worker.machine.cores import Cores
from worker.machine.scratch import Scratch
from worker.machine.shares import MemoryBudget
from worker.supervision import ingest_attempts
from worker.supervision.attempt import Means
from worker.supervision.lease import AttemptLease
from worker.supervision.threads import LeaseKeeper
from worker.supervision.worker import run_claimed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def pets() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)
    splits = {split: np.arange(10 * place, 10 * place + 10) for place, split in enumerate(SPLITS)}
    return ImageSet(pixels, np.arange(30, dtype=np.int32) % 2, splits, ("cat", "dog"), (0, 255))


class Bench:
    """One worker, a blob store, and the dataset `pets@1` of alice."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.work = Work(database)
        self.blobs = Blobs((folder / "blobs").as_uri())
        self.scratch = Scratch(folder / "scratch")
        self.settings = Settings(home=folder / "home")
        self.content = pets()
        self.sha256 = compute_content_address(self.content)
        (folder / "pets").mkdir()
        save(self.content, folder / "pets")
        for file in (folder / "pets").iterdir():
            self.blobs.put(f"datasets/{self.sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, "ds_" + 26 * "0", "pets", self.content, self.sha256, 1)
            session.get_one(DatasetRow, "ds_" + 26 * "0").owner = ALICE
        self.blobs.put("datasets/ds_" + 26 * "0" + "/members.txt", b"".join(b"%d.png\n" % row for row in range(30)))

    def derive(self, **changes: Any) -> DatasetRow:
        with self.work.database.write() as session:
            return versions.derive(session, ALICE, "pets@1", VersionSpec(**changes), max_runtime_s=600)

    def dataset(self, dataset_id: str) -> DatasetRow:
        with self.work.database.read() as session:
            return session.get_one(DatasetRow, dataset_id)

    def delete(self, reference: str) -> None:
        with self.work.database.write() as session:
            discards.remove(session, ALICE, reference)
        discard_files(self.work.database, self.blobs)

    def files_of_base(self) -> set[str]:
        root = self.blobs.get_local_folder("")
        return {path.name for path in (root / "datasets" / self.sha256).glob("*")}

    def run(self) -> JobStatus:
        """The next attempt at the job that waits, to its end."""
        claimed = self.work.claim()
        keeper = LeaseKeeper(self.work.database, self.settings, "worker", self.scratch.sign_of_life)
        lease = AttemptLease(
            claimed.held, database=self.work.database, blobs=self.blobs, keeper=keeper, stopping=threading.Event()
        )
        with Cores().for_job() as cores:
            run_claimed(claimed, lease, Means(self.settings, self.scratch, MemoryBudget(2**30), cores))
        self.work.set(claimed.held.job_id, available_at=None)  # the next attempt need not be waited for
        return self.work.row(claimed.held.job_id).status


@pytest.fixture
def bench(database: Database, tmp_path: Path):
    bench = Bench(database, tmp_path)
    yield bench
    bench.scratch.close()


class Killed(DeriveProcess):
    """Is killed from outside after it has begun."""

    def receive(self, timeout_s: float) -> IngestProgress | IngestReport | Related | None:
        message = super().receive(timeout_s)
        os.kill(self.pid, signal.SIGKILL)
        return message


def test_a_version_whose_process_is_killed_is_made_by_the_next_attempt(bench: Bench, monkeypatch) -> None:
    made = bench.derive(exclude=["3.png"], relabel={"4": "dog"})
    with monkeypatch.context() as killing:
        killing.setattr(ingest_attempts, "DeriveProcess", Killed)
        assert bench.run() == "queued"
    assert bench.dataset(made.id).status is DatasetStatus.CHECKING
    assert bench.run() == "succeeded"
    row = bench.dataset(made.id)
    images = bench.content
    kept = np.delete(np.arange(30), 3)
    labels = images.labels.copy()
    labels[4] = 1
    splits = {"train": np.arange(9), "validation": np.arange(9, 19), "test": np.arange(19, 29)}
    assert row.sha256 == compute_content_address(
        ImageSet(images.images[kept], labels[kept], splits, images.classes, images.value_range)
    )
    stored = StoredAudit.from_bytes(bench.blobs.read(audit_key(made.id)))
    assert stored.source["changes"]["summary"] == "1 image that was named left out; 1 label changed"
    assert bench.blobs.read(f"datasets/{made.id}/members.txt").splitlines()[2:4] == [b"2.png", b"4.png"]
    beside = list((bench.blobs.get_local_folder("") / "datasets" / made.id).rglob("*.*"))
    assert {"0.png", "1.png", "audit.json", "members.txt", "relations.npz"} == {file.name for file in beside}
    assert row.beside_bytes == sum(file.stat().st_size for file in beside)
    with bench.work.database.read() as session:
        base = bench.dataset("ds_" + 26 * "0")
        used = quotas.get_used(session, ALICE, Quota.STORED_BYTES)
    assert used == base.size_bytes + row.size_bytes + row.beside_bytes


def test_a_base_that_is_deleted_meanwhile_keeps_its_files_until_the_version_is_made(bench: Bench) -> None:
    made = bench.derive(exclude=[0])
    bench.delete("pets@1")
    assert len(bench.files_of_base()) == 4
    assert bench.run() == "succeeded"
    discard_files(bench.work.database, bench.blobs)
    assert bench.files_of_base() == set()
    assert bench.dataset(made.id).status is DatasetStatus.READY


def test_a_version_that_cannot_be_made_is_rejected_with_the_reason(bench: Bench) -> None:
    made = bench.derive(exclude=["none.png"])
    assert bench.run() == "failed"
    row = bench.dataset(made.id)
    assert (row.status, row.error["code"]) == ("rejected", "unknown_image")
    assert len(bench.files_of_base()) == 4


def test_a_base_whose_files_are_lost_is_reported(bench: Bench) -> None:
    made = bench.derive(exclude=[0])
    bench.blobs.delete_all(f"datasets/{bench.sha256}")
    assert bench.run() == "failed"
    assert bench.dataset(made.id).error["code"] == "base_missing"


def test_a_version_for_which_its_owner_has_no_bytes_left_is_rejected(bench: Bench) -> None:
    made = bench.derive(exclude=["3.png"])
    bench.work.database.bounds = {Quota.STORED_BYTES: 1000}
    assert bench.run() == "failed"
    row = bench.dataset(made.id)
    assert (row.status, row.error["code"]) == (DatasetStatus.REJECTED, "quota_exceeded")
    assert "1,000 allowed" in row.error["detail"]


@pytest.mark.parametrize(("is_on", "status"), [(True, "queued"), (False, None)])
def test_a_new_version_is_searched_for_wrong_labels_by_itself_unless_that_is_turned_off(bench, is_on, status) -> None:
    bench.settings = Settings(home=bench.settings.home, check_labels=is_on)
    made = bench.derive(exclude=[0])
    assert bench.run() == "succeeded"
    assert bench.dataset(made.id).suspects_status == status
    claimed = bench.work.claim()
    assert (claimed is not None and claimed.kind) == (JobKind.SUSPECT if is_on else False)
