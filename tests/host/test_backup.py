"""A backup made while a service writes restores everything finished, byte for byte, on both databases."""

import hashlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, update

from analysis.arrays.dataset import FILES
from analysis.arrays.relations import make_relations_key
from heldout.errors import OperatorError
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.lifecycle.resources import DatasetStatus
from heldout.service.settings import Settings, make_embedded_settings
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from host.backup import back_up
from host.restore import restore
from models.blobs import Blobs, StoredBlob
from models.database import Database
from models.secret_box import SecretBox
from models.store import claims, jobs, named_blobs
from models.store.artifacts import Artifact
from models.store.claims import Checkpoint, HeldAttempt, Result
from models.tables import DatasetRow
from tests.api.support import sqlite_only
from tests.models.work import ALICE, Work, final_of
from tests.servers_fixtures import empty_postgres


def make_settings(folder: Path, database_url: str) -> Settings:
    return Settings(
        home=folder, database_url=SecretStr(database_url), blobs=(folder / "blobs").as_uri(), datasets=folder / "none"
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path / "service", database_url)


@pytest.fixture
def target(tmp_path: Path, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Return settings for an empty database of the same type and an empty store."""
    folder = tmp_path / "restored"
    folder.mkdir()
    if settings.database.startswith("sqlite"):
        yield make_settings(folder, f"sqlite:///{folder / 'other.db'}")
    else:
        with empty_postgres(request.getfixturevalue("postgres_admin")) as url:
            yield make_settings(folder, url)


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    database = Database(settings.database)
    work, blobs = Work(database), Blobs(settings.blobs_url)
    for key in [*(f"datasets/{work.dataset.sha256}/{file}" for file in FILES), make_relations_key(work.dataset.id)]:
        blobs.put(key, b"x")
    yield work
    database.dispose()


@pytest.fixture
def restored(target: Settings) -> Iterator[Callable[[], Work]]:
    """Return what opens the restored database."""
    opened: list[Database] = []

    def open_restored() -> Work:
        opened.append(Database(target.database))  # not earlier, because that would create the file to be restored
        work = Work.__new__(Work)  # the dataset already exists
        work.database = opened[-1]
        return work

    yield open_restored
    for database in opened:
        database.dispose()


def store_file(blobs: Blobs, key: str) -> tuple[int, str]:
    content = key.encode() * 1000
    blobs.put(key, content)
    return len(content), hashlib.sha256(content).hexdigest()


def train(work: Work, blobs: Blobs, epochs: int = 3) -> HeldAttempt:
    """Take a job from its claim to its success as a worker does, deleting older checkpoints."""
    held = work.running()
    work.begin(held)
    for epoch in range(1, epochs + 1):
        work.epoch(held, epoch, train_loss=1 / epoch)
        key = f"jobs/{held.job_id}/1/checkpoint-{epoch}.ckpt"
        store_file(blobs, key)
        with work.database.write() as session:
            unneeded = claims.add_checkpoint(session, held, Checkpoint(epoch, 0, key))
        for unneeded_key in unneeded:
            blobs.delete(unneeded_key)
    key = f"jobs/{held.job_id}/1/model.keras"
    model = Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, key, *store_file(blobs, key))
    with work.database.write() as session:
        claims.succeed(session, held, result=Result(final_of(1), (model,)), stop_reason=StopReason.COMPLETED)
    return held


def test_finished_jobs_are_fully_restored_from_a_backup_under_load(
    work: Work, settings: Settings, target: Settings, restored: Callable[[], Work], tmp_path: Path
) -> None:
    blobs = Blobs(settings.blobs_url)
    first = train(work, blobs)
    stop, ended = threading.Event(), [first]

    def keep_training() -> None:
        while not stop.is_set():
            ended.append(train(work, blobs))

    writing = threading.Thread(target=keep_training)
    writing.start()
    try:
        about = back_up(settings, tmp_path / "backup")
    finally:
        stop.set()
        writing.join()
    assert len(ended) > 1
    restore(target, tmp_path / "backup")
    there = restored()
    whole = 0
    for held in ended:
        rows = there.stored(held.job_id)
        if not rows["jobs"] or rows["jobs"][0]["status"] is not JobStatus.SUCCEEDED:
            continue  # it ended after the database was copied
        whole += 1
        assert rows == work.stored(held.job_id)
        [model] = rows["artifacts"]
        found = Blobs(target.blobs_url).read(str(model["key"]))
        assert found == blobs.read(str(model["key"]))
        assert hashlib.sha256(found).hexdigest() == model["sha256"]
    assert whole >= 1
    assert there.stored(first.job_id)["jobs"]
    # Only checkpoints of running jobs may vanish between the copies of the database and the files.
    assert all("/checkpoint-" in key for key in about.missing)


def test_a_running_job_continues_from_an_existing_checkpoint(
    work: Work, settings: Settings, target: Settings, restored: Callable[[], Work], tmp_path: Path
) -> None:
    blobs = Blobs(settings.blobs_url)
    held = work.running()
    work.begin(held)
    for epoch in (1, 2):
        work.checkpoint(held, epoch)
    store_file(blobs, f"jobs/{held.job_id}/1/1-0")  # the checkpoint of epoch 2 is lost
    about = back_up(settings, tmp_path / "backup")
    assert about.missing == (f"jobs/{held.job_id}/1/2-0",)
    assert work.row(held.job_id).status is JobStatus.RUNNING
    restore(target, tmp_path / "backup")
    there = restored()
    row = there.row(held.job_id)
    assert (row.status, row.failures) == (JobStatus.QUEUED, 0)
    claimed = there.claim()
    assert claimed is not None
    assert [checkpoint.epoch for checkpoint in claimed.begins.checkpoints] == [1]


Circumstance = tuple[Callable[[], object], Callable[[], object]]


def end_a_training(work: Work, blobs: Blobs) -> Circumstance:
    held: list[HeldAttempt] = []

    def begin() -> None:
        held.append(work.running())
        work.begin(held[0])
        for epoch in (1, 2):
            work.checkpoint(held[0], epoch)
            store_file(blobs, f"jobs/{held[0].job_id}/1/{epoch}-0")

    def end() -> None:
        with work.database.write() as session:
            claims.succeed(session, held[0], result=Result(final_of(1), ()), stop_reason=StopReason.COMPLETED)
            unneeded = claims.forget_checkpoints_of_ended(session, held[0].job_id)
        assert unneeded
        for key in unneeded:
            blobs.delete(key)

    return begin, end


def delete_a_job(work: Work, blobs: Blobs) -> Circumstance:
    held: list[HeldAttempt] = []

    def end() -> None:
        with work.database.write() as session:
            jobs.remove(session, ALICE, held[0].job_id)
        blobs.delete_all(f"jobs/{held[0].job_id}")

    return lambda: held.append(train(work, blobs)), end


def read_an_upload(work: Work, blobs: Blobs) -> Circumstance:
    key = f"uploads/{work.dataset.id}/1"

    def note(status: DatasetStatus, upload_key: str | None) -> None:
        with work.database.write() as session:
            session.execute(update(DatasetRow).values(status=status, upload_key=upload_key))

    def begin() -> None:
        blobs.put(key, b"x")
        note(DatasetStatus.CHECKING, key)

    def end() -> None:
        note(DatasetStatus.READY, None)
        blobs.delete(key)

    return begin, end


@sqlite_only
@pytest.mark.parametrize("circumstance", [end_a_training, delete_a_job, read_an_upload])
def test_files_that_came_and_went_during_the_backup_are_not_reported_missing(
    circumstance: Callable[[Work, Blobs], Circumstance],
    work: Work,
    settings: Settings,
    target: Settings,
    restored: Callable[[], Work],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin, end = circumstance(work, Blobs(settings.blobs_url))
    stored, lists = Blobs.stored, itertools.count(1)

    def listed(blobs: Blobs, prefix: str | None = None) -> Iterator[StoredBlob]:
        number = next(lists)
        if number == 2:
            end()  # after the database was copied
        yield from stored(blobs, prefix)
        if number == 1:
            begin()  # before it was copied

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Blobs, "stored", listed)
        about = back_up(settings, tmp_path / "backup")
    assert about.missing == ()
    restore(target, tmp_path / "backup")
    there = restored()
    with there.database.read() as session:
        assert named_blobs.list_keys(session) <= {blob.key for blob in Blobs(target.blobs_url).stored()}


def test_nothing_is_restored_over_existing_data_or_from_damaged_backups(
    work: Work, settings: Settings, target: Settings, tmp_path: Path
) -> None:
    blobs = Blobs(settings.blobs_url)
    held = train(work, blobs)
    folder = tmp_path / "backup"
    back_up(settings, folder)
    with pytest.raises(OperatorError, match="not empty"):
        restore(settings, folder)
    with pytest.raises(OperatorError, match="already"):
        back_up(settings, folder)
    model = folder / "blobs" / "jobs" / held.job_id / "1" / "model.keras"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + b"!")
    with pytest.raises(OperatorError, match=r"damaged.*model\.keras.*Nothing was restored"):
        restore(target, folder)
    assert list(Blobs(target.blobs_url).stored()) == []
    model.write_bytes(whole)
    about = json.loads((folder / "backup.json").read_text())
    (folder / "backup.json").write_text(json.dumps({**about, "revision": "later"}))
    with pytest.raises(OperatorError, match="later than this release's"):
        restore(target, folder)
    (folder / "backup.json").write_text(json.dumps(about))
    restore(target, folder)
    with pytest.raises(OperatorError, match="is not a backup"):
        restore(target, tmp_path)


@sqlite_only
def test_encrypted_secrets_survive_a_restore_and_backups_are_private(
    work: Work, settings: Settings, target: Settings, tmp_path: Path
) -> None:
    sealed = SecretBox.of(settings).seal("whsec_1")
    back_up(settings, tmp_path / "backup")
    assert os.stat(tmp_path / "backup").st_mode & 0o077 == 0
    assert not (tmp_path / "backup.partial").exists()
    own = target.home_path / "secrets-key"
    own.write_text("of another service")
    with pytest.raises(OperatorError, match=r"is not the key that encrypts.*Nothing was restored"):
        restore(target, tmp_path / "backup")
    assert own.read_text() == "of another service"
    own.unlink()
    key = tmp_path / "backup" / "secrets-key"
    whole = key.read_bytes()
    key.write_bytes(whole[1:])
    with pytest.raises(OperatorError, match=r"damaged.*secrets-key"):
        restore(target, tmp_path / "backup")
    key.write_bytes(whole)
    restore(target, tmp_path / "backup")
    assert SecretBox.of(target).open(sealed) == "whsec_1"
    assert os.stat(own).st_mode & 0o077 == 0


@sqlite_only
def test_a_key_from_a_setting_is_not_in_the_backup(work: Work, settings: Settings, tmp_path: Path) -> None:
    SecretBox.of(settings).seal("makes the file")
    set_ = settings.model_copy(update={"secrets_key": SecretStr("from the setting")})
    assert back_up(set_, tmp_path / "backup").secrets_key_sha256 is None
    assert not (tmp_path / "backup" / "secrets-key").exists()


def test_a_failed_restore_can_be_repeated_into_the_same_home(
    work: Work, settings: Settings, target: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(settings.blobs_url)
    held = train(work, blobs)
    back_up(settings, tmp_path / "backup")
    home = make_embedded_settings(tmp_path / "home") if settings.database.startswith("sqlite") else target
    key = f"jobs/{held.job_id}/1/model.keras"
    model = tmp_path / "backup" / "blobs" / key
    whole = model.read_bytes()
    model.write_bytes(b"damaged")
    with pytest.raises(OperatorError, match="Nothing was restored"):
        restore(home, tmp_path / "backup")
    model.write_bytes(whole)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("host.restore.shutil.copyfileobj", full)
        disk.setattr("host.restore.restore_postgres", lambda *_: fail_on_full_disk())
        with pytest.raises(OperatorError, match="No space left"):
            restore(home, tmp_path / "backup")
    assert not list(home.home_path.glob("*.part"))
    restore(home, tmp_path / "backup")
    assert Blobs(home.blobs_url).read(key) == whole
    with pytest.raises(OperatorError, match="not empty"):
        restore(home, tmp_path / "backup")


def fail_on_full_disk() -> None:
    raise OperatorError("pg_restore ended with status 1: No space left on device")


def test_a_backup_of_another_database_type_says_what_it_needs(
    work: Work, settings: Settings, tmp_path: Path, postgres_admin: Engine
) -> None:
    back_up(settings, tmp_path / "backup")
    with empty_postgres(postgres_admin) as url:
        home = make_embedded_settings(tmp_path / "home")
        other = home.model_copy(update={"database_url": SecretStr(url)})
        of_sqlite = settings.database.startswith("sqlite")
        with pytest.raises(OperatorError, match="--home" if of_sqlite else "HELDOUT_DATABASE_URL"):
            restore(other if of_sqlite else home, tmp_path / "backup")
    assert not home.home_path.exists()


@sqlite_only
def test_a_failed_backup_leaves_nothing_behind(
    work: Work, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("host.backup.write_listed", full)
    with pytest.raises(OperatorError, match="No space left"):
        back_up(settings, tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []
