"""Attempts at derived versions, with real processes: they succeed, are retried after a crash, or report the reason."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, ImageSet, compute_content_address, save
from heldout.access.rights import Quota
from heldout.fixes.changes import VersionSpec
from heldout.lifecycle.resources import DatasetStatus
from heldout.service.settings import Settings
from heldout.stored.audit import IngestedContent, StoredAudit, audit_key
from heldout.stored.looks import make_features_key, make_looks_key
from heldout.work.kinds import JobKind
from models import pretrained
from models.database import Database
from models.reconcile import discard_files
from models.store import datasets, discards, quotas, searches, versions
from models.tables import DatasetRow
from tests.models.work import ALICE
from tests.worker.supervision.bench import Bench
from worker.ingest.parent import BoundedProcess
from worker.supervision import ingest_attempts

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BASE_ID = "ds_" + 26 * "0"


def pets() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)
    splits = {split: np.arange(10 * place, 10 * place + 10) for place, split in enumerate(SPLITS)}
    return ImageSet(pixels, np.arange(30, dtype=np.int32) % 2, splits, ("cat", "dog"), (0, 255))


class DeriveBench(Bench):
    """A worker, and the dataset `pets@1` of alice."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, folder)
        self.content = pets()
        self.sha256 = compute_content_address(self.content)
        (folder / "pets").mkdir()
        save(self.content, folder / "pets")
        for file in (folder / "pets").iterdir():
            self.blobs.put(f"datasets/{self.sha256}/{file.name}", file)
        with database.write() as session:
            datasets.add_bundled(session, BASE_ID, "pets", self.content, self.sha256, 1)
            session.get_one(DatasetRow, BASE_ID).owner = ALICE
        self.blobs.put(f"datasets/{BASE_ID}/members.txt", b"".join(b"%d.png\n" % row for row in range(30)))

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

    def list_base_files(self) -> set[str]:
        root = self.blobs.get_local_folder("")
        return {path.name for path in (root / "datasets" / self.sha256).glob("*")}


@pytest.fixture
def bench(database: Database, tmp_path: Path):
    bench = DeriveBench(database, tmp_path)
    yield bench
    bench.scratch.close()


def test_columns_make_a_version_of_the_same_images_and_equal_columns_stand_for_it(bench: DeriveBench) -> None:
    for number, camera, same_as in ((2, "A", None), (3, "B", None), (4, "B", 3)):
        derived = bench.derive(columns={"camera": {"3.png": camera}})
        assert bench.run().status == "succeeded"
        row = bench.dataset(derived.id)
        assert (row.version, row.sha256) == (number, bench.sha256)
        earlier = None if row.same_as is None else bench.dataset(row.same_as).version
        assert earlier == same_as
        stored = json.loads(bench.blobs.read(f"datasets/{derived.id}/columns.json"))
        assert stored == {"camera": [None, None, None, camera, *[None] * 26]}


class KilledProcess(BoundedProcess):
    """Is killed from outside before it answers."""

    def receive(self, timeout_s: float) -> IngestedContent | dict[str, str] | None:
        os.kill(self.pid, signal.SIGKILL)
        return super().receive(timeout_s)


def test_a_version_whose_process_is_killed_is_derived_by_the_next_attempt(bench: DeriveBench, monkeypatch) -> None:
    derived = bench.derive(exclude=["3.png"], relabel={"4": "dog"})
    with monkeypatch.context() as killing:
        killing.setattr(ingest_attempts, "BoundedProcess", KilledProcess)
        assert bench.run().status == "queued"
    assert bench.dataset(derived.id).status is DatasetStatus.CHECKING
    assert bench.run().status == "succeeded"
    row = bench.dataset(derived.id)
    images = bench.content
    kept = np.delete(np.arange(30), 3)
    labels = images.labels.copy()
    labels[4] = 1
    splits = {"train": np.arange(9), "validation": np.arange(9, 19), "test": np.arange(19, 29)}
    assert row.sha256 == compute_content_address(
        ImageSet(images.images[kept], labels[kept], splits, images.classes, images.value_range)
    )
    stored = StoredAudit.from_bytes(bench.blobs.read(audit_key(derived.id)))
    assert stored.source["changes"]["summary"] == "1 image that was named left out; 1 label changed"
    assert bench.blobs.read(f"datasets/{derived.id}/members.txt").splitlines()[2:4] == [b"2.png", b"4.png"]
    more_files = list((bench.blobs.get_local_folder("") / "datasets" / derived.id).rglob("*.*"))
    assert {"0.png", "1.png", "audit.json", "members.txt", "relations.npz"} == {file.name for file in more_files}
    assert row.beside_bytes == sum(file.stat().st_size for file in more_files)
    with bench.work.database.read() as session:
        base = bench.dataset(BASE_ID)
        used = quotas.get_used(session, ALICE, Quota.STORED_BYTES)
    assert used == base.size_bytes + row.size_bytes + row.beside_bytes


def test_a_deleted_base_keeps_its_files_until_the_version_is_derived(bench: DeriveBench) -> None:
    derived = bench.derive(exclude=[0])
    bench.delete("pets@1")
    assert len(bench.list_base_files()) == 4
    assert bench.run().status == "succeeded"
    discard_files(bench.work.database, bench.blobs)
    assert bench.list_base_files() == set()
    assert bench.dataset(derived.id).status is DatasetStatus.READY


def test_a_version_that_cannot_be_derived_is_rejected_with_the_reason(bench: DeriveBench) -> None:
    derived = bench.derive(exclude=["none.png"])
    assert bench.run().status == "failed"
    row = bench.dataset(derived.id)
    assert (row.status, row.error["code"]) == ("rejected", "unknown_image")
    assert len(bench.list_base_files()) == 4


def test_lost_files_of_the_base_are_reported(bench: DeriveBench) -> None:
    derived = bench.derive(exclude=[0])
    bench.blobs.delete_all(f"datasets/{bench.sha256}")
    assert bench.run().status == "failed"
    assert bench.dataset(derived.id).error["code"] == "base_missing"


def test_a_version_that_exceeds_its_owners_quota_is_rejected(bench: DeriveBench) -> None:
    derived = bench.derive(exclude=["3.png"])
    bench.work.database.bounds = {Quota.STORED_BYTES: 1000}
    assert bench.run().status == "failed"
    row = bench.dataset(derived.id)
    assert (row.status, row.error["code"]) == (DatasetStatus.REJECTED, "quota_exceeded")
    assert "1,000 allowed" in row.error["detail"]


@pytest.mark.parametrize(("is_on", "status"), [(True, "queued"), (False, None)])
def test_a_new_version_is_searched_for_wrong_labels_unless_that_is_turned_off(bench, is_on, status) -> None:
    bench.settings = Settings(home=bench.settings.home, check_labels=is_on)
    derived = bench.derive(exclude=[0])
    assert bench.run().status == "succeeded"
    assert bench.dataset(derived.id).suspects_status == status
    claimed = bench.work.claim()
    assert (claimed is not None and claimed.kind) == (JobKind.SUSPECT if is_on else False)


@pytest.mark.parametrize(
    ("is_on", "has_network", "status"), [(True, True, "queued"), (False, True, None), (True, False, None)]
)
def test_a_new_version_gets_features_unless_that_is_turned_off_and_a_deletion_removes_them(
    bench, monkeypatch, is_on, has_network, status
) -> None:
    monkeypatch.setattr(pretrained, "is_coming", lambda *_: has_network)
    bench.settings = Settings(home=bench.settings.home, check_labels=False, features=is_on)
    derived = bench.derive(exclude=[0])
    assert bench.run().status == "succeeded"
    assert bench.dataset(derived.id).features_status == status
    if status is not None:
        claimed = bench.work.claim()
        assert claimed.kind is JobKind.FEATURES
        for make_key in (make_features_key, make_looks_key):
            bench.blobs.put(make_key(derived.id), b"content")
        with bench.work.database.write() as session:
            searches.mark_stored(session, searches.FEATURES, claimed.held, derived.id)
        bench.delete("pets@2")
        assert not list(bench.blobs.stored(f"datasets/{derived.id}"))
