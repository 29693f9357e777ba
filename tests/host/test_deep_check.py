"""`heldout check --deep` finds missing, damaged and orphaned files, and repairs or collects what it can."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from analysis.arrays.dataset import FILES, compute_content_address, save
from analysis.arrays.relations import Relations, save_relations
from heldout.errors import OperatorError
from heldout.lifecycle.job import StopReason
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from host.check import check_deep
from models.blob_check import BlobCheck
from models.blobs import BlobMissing, Blobs
from models.bundled import BUNDLED, store
from models.digests import FileDigest
from models.store import claims, file_digests
from models.store.artifacts import Artifact
from models.store.claims import HeldAttempt, Result
from models.tables import DatasetRow
from tests.api.support import sqlite_only
from tests.models.work import ALICE, Work, dots, final_of

AT_ONCE = timedelta(0)
HOUR = timedelta(hours=1)
Check = Callable[..., BlobCheck]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def work(database, blobs: Blobs, tmp_path: Path) -> Work:
    """Return a `Work` whose dataset belongs to Alice and has files."""
    work = Work(database)
    folder = tmp_path / "dots"
    folder.mkdir()
    save(dots(), folder)
    sha256 = compute_content_address(dots())
    for file in FILES:
        blobs.put(f"datasets/{sha256}/{file}", folder / file)
    save_relations(Relations(np.arange(6, dtype=np.int32)), tmp_path / "relations.npz")
    blobs.put(f"datasets/{work.dataset.id}/relations.npz", tmp_path / "relations.npz")
    blobs.put(f"datasets/{work.dataset.id}/audit.json", b"{}")
    for number in range(len(dots().classes)):
        blobs.put(f"datasets/{work.dataset.id}/preview/{number}.png", b"png")
    with database.write() as session:
        change = update(DatasetRow).where(DatasetRow.id == work.dataset.id).values(sha256=sha256, owner=ALICE)
        session.execute(change)
    return work


@pytest.fixture
def check(work: Work, blobs: Blobs, tmp_path: Path) -> Check:
    def run(*, collect: bool = False, young: timedelta = AT_ONCE) -> BlobCheck:
        return check_deep(work.database, blobs, tmp_path / "none", collect=collect, young=young)

    return run


def succeed(work: Work, blobs: Blobs) -> HeldAttempt:
    """Run a job that leaves a model and predictions."""
    held = work.running()
    files = []
    for name, format_ in ((ArtifactName.MODEL, ArtifactFormat.KERAS), (ArtifactName.PREDICTIONS, ArtifactFormat.NPZ)):
        content = f"{name} of {held.job_id}".encode()
        key = f"jobs/{held.job_id}/1/{name}"
        blobs.put(key, content)
        files.append(Artifact(name, format_, key, len(content), hashlib.sha256(content).hexdigest()))
    with work.database.write() as session:
        claims.succeed(session, held, result=Result(final_of(1), tuple(files)), stop_reason=StopReason.COMPLETED)
    return held


@sqlite_only
def test_an_intact_store_is_reported_as_fine(work: Work, blobs: Blobs, check: Check) -> None:
    succeed(work, blobs)
    found = check()
    assert (found.is_fine, found.orphans, found.files) == (True, [], 10)


def test_lost_and_damaged_files_are_named(work: Work, blobs: Blobs, check: Check) -> None:
    lost, damaged = succeed(work, blobs), succeed(work, blobs)
    sha256 = compute_content_address(dots())
    blobs.delete(f"jobs/{lost.job_id}/1/model")
    blobs.put(f"jobs/{damaged.job_id}/1/predictions", f"predictions of {lost.job_id}".encode())
    blobs.put(f"datasets/{sha256}/labels.npy", blobs.read(f"datasets/{sha256}/labels.npy")[:-1] + b"\7")
    blobs.delete(f"datasets/{work.dataset.id}/audit.json")
    blobs.delete(f"datasets/{work.dataset.id}/preview/1.png")
    assert {(fault.key, fault.what, fault.why) for fault in check().faults} == {
        (f"jobs/{lost.job_id}/1/model", f"the model of {lost.job_id}", "missing"),
        (f"jobs/{damaged.job_id}/1/predictions", f"the predictions of {damaged.job_id}", "damaged"),
        (f"datasets/{sha256}", "the images of dots@1", "damaged"),
        (f"datasets/{work.dataset.id}/audit.json", "the audit of dots@1", "missing"),
        (f"datasets/{work.dataset.id}/preview/1.png", "a preview of dots@1", "missing"),
    }
    blobs.delete(f"datasets/{sha256}/images.npy")
    assert (f"datasets/{sha256}", "missing") in {(fault.key, fault.why) for fault in check().faults}


@sqlite_only
def test_damaged_files_are_named_even_without_a_stored_digest(work: Work, blobs: Blobs, check: Check) -> None:
    assert check().is_fine
    keys = [f"datasets/{work.dataset.id}/{name}" for name in ("audit.json", "relations.npz")]
    for key in keys:
        whole = blobs.read(key)
        blobs.put(key, whole[: len(whole) // 2])
    assert {(fault.key, fault.why) for fault in check().faults} == {(key, "damaged") for key in keys}


@sqlite_only
def test_files_of_a_dataset_are_compared_with_their_digests(work: Work, blobs: Blobs, check: Check, tmp_path) -> None:
    sha256, own = compute_content_address(dots()), f"datasets/{work.dataset.id}"
    (tmp_path / "members.txt").write_text("a.png\nb.png\n")
    blobs.put(f"{own}/members.txt", tmp_path / "members.txt")
    kinds = {
        f"{own}/members.txt": "the file names",
        f"{own}/audit.json": "the audit",
        f"{own}/preview/1.png": "a preview",
        f"{own}/relations.npz": "the copies and groups",
        f"datasets/{sha256}/about.json": "the class names",
        f"datasets/{sha256}/labels.npy": "the labels",
    }
    digests = {key: FileDigest(len(blobs.read(key)), hashlib.sha256(blobs.read(key)).hexdigest()) for key in kinds}
    with work.database.write() as session:
        file_digests.note(session, digests)
    assert check().is_fine
    for key, what in kinds.items():
        whole = blobs.read(key)
        for damage, why in ((whole[:-1], "damaged"), (b"?" + whole[1:], "damaged"), (None, "missing")):
            blobs.delete(key) if damage is None else blobs.put(key, damage)
            found = [(fault.what, fault.why) for fault in check().faults]
            assert found == [(f"{what} of dots@1", why)], key
        blobs.put(key, whole)


def test_only_old_orphans_are_collected(work: Work, blobs: Blobs, check: Check) -> None:
    ended, running = succeed(work, blobs), work.running()
    kept = {blob.key for blob in blobs.stored()} | {f"jobs/{running.job_id}/1/checkpoint", "unknown/file", "note"}
    orphans = {
        "jobs/job_gone/1/model",
        f"jobs/{ended.job_id}/1/checkpoint",  # the job has ended, and no row refers to it
        f"datasets/{'f' * 64}/images.npy",
        "datasets/ds_gone/audit.json",
        f"uploads/{work.dataset.id}/abc",  # the dataset is ready
        "studies/std_gone/initial.keras",
        "check-0123456789abcdef",
    }
    for key in (kept | orphans) - {blob.key for blob in blobs.stored()}:
        blobs.put(key, b"x")
    assert check(young=HOUR, collect=True).orphans == []
    assert {orphan.key for orphan in check().orphans} == orphans
    assert {blob.key for blob in blobs.stored()} == kept | orphans
    assert check(collect=True).collected == len(orphans)
    assert {blob.key for blob in blobs.stored()} == kept


@sqlite_only
def test_the_store_of_another_service_is_not_collected(
    work: Work, blobs: Blobs, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host.check.FEW_ORPHANS", 3)
    for number in range(20):
        blobs.put(f"jobs/job_other/1/{number}", b"x")
    with pytest.raises(OperatorError, match="Nothing was deleted"):
        check(collect=True)
    assert len(list(blobs.stored("jobs"))) == 20


@sqlite_only
def test_leftovers_of_interrupted_writes_are_collected(blobs: Blobs, check: Check, tmp_path: Path) -> None:
    partial = tmp_path / "blobs" / "jobs" / "job_x" / "model.keras#3"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    check(young=HOUR, collect=True)
    assert partial.exists()
    check(collect=True)
    assert not partial.exists()


@sqlite_only
def test_damaged_bundled_datasets_are_repaired(work: Work, blobs: Blobs, check: Check, tmp_path: Path) -> None:
    images = BUNDLED["digits"].read(tmp_path)
    store(work.database, blobs, "digits", images)
    folder = f"datasets/{compute_content_address(images)}"
    before = {blob.key: blobs.read(blob.key) for blob in blobs.stored(folder)}
    blobs.put(f"{folder}/labels.npy", b"")
    blobs.delete(f"{folder}/images.npy")
    found = check()
    assert ([fault.key for fault in found.fixed], found.faults) == ([folder], [])
    assert {blob.key: blobs.read(blob.key) for blob in blobs.stored(folder)} == before
    assert check().fixed == []


def test_lost_relations_of_a_bundled_dataset_are_computed_again(work: Work, blobs: Blobs, check: Check) -> None:
    with work.database.write() as session:
        session.execute(update(DatasetRow).values(owner=None))
    key = f"datasets/{work.dataset.id}/relations.npz"
    blobs.delete(key)
    assert [fault.key for fault in check().fixed] == [key]
    claimed = work.claim_beside_slots()
    assert claimed is not None
    assert claimed.dataset.id == work.dataset.id
    with pytest.raises(BlobMissing):
        blobs.read(key)
