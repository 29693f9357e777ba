"""The blob store, in a folder or on S3: complete puts, exact reads, and a store that does not respond."""

import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

import models.blobs
from heldout.errors import ArtifactDamaged, DatasetDamaged, StorageUnavailable
from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs
from models.digests import MAX_BLOCKS, MIN_BLOCK_BYTES, FileDigest, compute_file_digest
from tests.object_store import S3Server
from tests.servers import folder_open_to_all

KEY = "jobs/job_1/1/model.keras"
MIB = 1024 * 1024


@pytest.fixture(params=["file", "sqlite", "s3"])
def blobs(request, tmp_path: Path) -> Blobs:
    """A store in a folder, one in a SQLite file, and one on a real server of S3's protocol."""
    urls = {"file": (tmp_path / "blobs").as_uri(), "sqlite": f"sqlite:///{tmp_path / 'one.sqlite'}"}
    return Blobs(urls.get(request.param) or request.getfixturevalue("s3_url"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def test_blobs_are_read_exactly_as_they_were_put(blobs, tmp_path):
    content = os.urandom(3_000_000)
    file = tmp_path / "source"
    file.write_bytes(content)
    blobs.put(KEY, file)
    blobs.put("jobs/job_1/1/small", b"small")
    blobs.put("jobs/job_1/1/empty", b"")
    assert blobs.read(KEY) == content
    assert blobs.size(KEY) == len(content)
    assert (blobs.read("jobs/job_1/1/small"), blobs.size("jobs/job_1/1/small")) == (b"small", 5)
    assert (blobs.read("jobs/job_1/1/empty"), blobs.size("jobs/job_1/1/empty")) == (b"", 0)
    assert file.read_bytes() == content


def test_a_large_blob_is_read_in_pieces(blobs):
    content = os.urandom(5_000_001)
    blobs.put(KEY, content)
    pieces = list(blobs.chunks(KEY))
    assert b"".join(pieces) == content
    assert len(pieces) > 1
    assert all(isinstance(piece, bytes) and piece for piece in pieces)


def test_no_byte_is_lost_where_pieces_meet(blobs, tmp_path):
    for size in (0, 1, models.blobs.RANGE_BYTES, models.blobs.RANGE_BYTES + 1):
        content = os.urandom(size)
        blobs.put(KEY, content)
        assert b"".join(blobs.chunks(KEY)) == content
        blobs.fetch(KEY, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content


@pytest.mark.parametrize("chunk_bytes", [70_000, 3 * MIB])
def test_a_stream_of_many_parts_is_stored_completely(blobs, chunk_bytes):
    content = os.urandom(2 * models.blobs.PART_BYTES + 12_345)
    chunks = (content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes))
    assert blobs.put_stream(KEY, chunks) == len(content)
    assert blobs.size(KEY) == len(content)
    assert b"".join(blobs.chunks(KEY)) == content


def test_an_empty_stream_is_an_empty_blob(blobs):
    assert blobs.put_stream(KEY, iter([])) == 0
    assert blobs.read(KEY) == b""


@pytest.mark.parametrize("whole_parts", [0, 3])
def test_a_stream_that_breaks_changes_nothing_and_raises_its_error(blobs, whole_parts):
    class SenderLeft(Exception): ...

    def broken() -> Iterator[bytes]:
        yield b"some"
        for _ in range(whole_parts):
            yield os.urandom(models.blobs.PART_BYTES)
        raise SenderLeft("half-way")

    with pytest.raises(SenderLeft, match="half-way"):
        blobs.put_stream(KEY, broken())
    with pytest.raises(BlobMissing):
        blobs.size(KEY)
    blobs.put(KEY, b"before")
    with pytest.raises(SenderLeft):
        blobs.put_stream(KEY, broken())
    assert blobs.read(KEY) == b"before"
    folder = blobs.get_local_folder("jobs/job_1/1")
    assert folder is None or [path.name for path in folder.iterdir()] == ["model.keras"]


def test_a_fetched_blob_overwrites_the_file(blobs, tmp_path):
    content = os.urandom(2_500_000)
    blobs.put(KEY, content)
    target = tmp_path / "target"
    target.write_bytes(b"x" * 3_000_000)
    blobs.fetch(KEY, target)
    assert target.read_bytes() == content
    target.write_bytes(b"changed")
    assert blobs.read(KEY) == content  # a copy, not the blob itself


def test_a_second_put_replaces_the_first(blobs):
    blobs.put(KEY, b"first, and longer")
    blobs.put(KEY, b"second")
    assert blobs.read(KEY) == b"second"


def test_a_blob_that_does_not_exist_is_missing_for_every_reader(blobs, tmp_path):
    blobs.put("jobs/job_1/1/other", b"other")
    target = tmp_path / "target"
    for read in (blobs.read, blobs.size, blobs.chunks, lambda key: blobs.fetch(key, target)):
        with pytest.raises(BlobMissing, match=KEY):
            read(KEY)
    assert not target.exists()


def test_only_the_named_blob_is_deleted_and_repeating_that_is_no_error(blobs):
    blobs.put(KEY, b"model")
    blobs.put(KEY + ".old", b"kept")
    blobs.delete(KEY)
    blobs.delete(KEY)
    with pytest.raises(BlobMissing):
        blobs.read(KEY)
    assert blobs.read(KEY + ".old") == b"kept"


def test_a_folder_of_blobs_is_deleted_but_not_those_with_a_similar_name(blobs):
    for key in ("jobs/a/1/x", "jobs/a/2/y/z", "jobs/ab/1/x", "datasets/a/x"):
        blobs.put(key, key.encode())
    blobs.delete_all("jobs/a")
    for gone in ("jobs/a/1/x", "jobs/a/2/y/z"):
        with pytest.raises(BlobMissing):
            blobs.read(gone)
    for kept in ("jobs/ab/1/x", "datasets/a/x"):
        assert blobs.read(kept) == kept.encode()
    blobs.delete_all("jobs/a")
    blobs.delete_all("jobs/never")


@pytest.mark.parametrize("blobs", ["file", "s3"], indirect=True)  # which delete in portions; 1,001 puts take a while
def test_many_blobs_are_deleted_together(blobs):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: blobs.put(f"jobs/a/1/{number}", b"x"), range(1001)))
    blobs.delete_all("jobs/a")
    with pytest.raises(BlobMissing):
        blobs.read("jobs/a/1/1000")


def test_a_check_leaves_nothing_behind(folder):
    Blobs(folder.as_uri()).check()
    assert list(folder.iterdir()) == []


def test_concurrent_checks_do_not_interfere(blobs):
    failures: list[BaseException] = []

    def check() -> None:
        try:
            for _ in range(5):
                blobs.check()
        except (BlobMissing, StorageUnavailable) as error:
            failures.append(error)

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- a folder ------------------------------------------------------------------------------------


def test_the_folder_is_accessible_only_to_its_owner(folder):
    Blobs(folder.as_uri())
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "with space, ä and 100%"
    Blobs(folder.as_uri()).put(KEY, b"here")
    assert (folder / KEY).read_bytes() == b"here"


def test_a_folder_of_blobs_can_be_mapped_in_place(folder):
    blobs = Blobs(folder.as_uri())
    blobs.put("datasets/abc/images.npy", b"pixels")
    assert (blobs.get_local_folder("datasets/abc") / "images.npy").read_bytes() == b"pixels"
    assert Blobs("memory:///").get_local_folder("datasets/abc") is None


def test_a_deleted_folder_is_gone_from_the_disk(folder):
    blobs = Blobs(folder.as_uri())
    blobs.put("jobs/a/1/x", b"x")
    blobs.delete_all("jobs/a")
    assert not (folder / "jobs/a").exists()
    assert (folder / "jobs").exists()


def test_a_reader_never_sees_half_a_put(folder):
    blobs = Blobs(folder.as_uri())
    contents = [bytes([number]) * 2_000_000 for number in range(2)]
    blobs.put(KEY, contents[0])
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for content in contents:
                blobs.put(KEY, content)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(30):
            assert blobs.read(KEY) in contents
    finally:
        stop.set()
        writer.join()
    assert [path.name for path in (folder / KEY).parent.iterdir()] == ["model.keras"]


@contextmanager
def as_another_user() -> Iterator[None]:
    """Act as another user, because root may write to read-only folders."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only() -> Iterator[Blobs]:
    with tempfile.TemporaryDirectory(prefix="heldout-test-", dir=folder_open_to_all()) as name:
        folder = Path(name)
        blobs = Blobs(folder.as_uri())
        blobs.put(KEY, b"kept")
        places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for place in places:
            place.chmod(0o555)
        yield blobs
        for place in places:
            place.chmod(0o755)


def test_a_read_only_folder_is_unavailable_for_writers_and_keeps_what_it_has(read_only):
    with as_another_user():
        for write in (
            lambda: read_only.put(KEY, b"lost"),
            lambda: read_only.put("jobs/job_2/1/new", b"lost"),
            lambda: read_only.delete(KEY),
            lambda: read_only.delete_all("jobs"),
            read_only.check,
        ):
            with pytest.raises(StorageUnavailable):
                write()
        assert read_only.read(KEY) == b"kept"
    assert read_only.read(KEY) == b"kept"


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnavailable):
        Blobs((tmp_path / "file" / "blobs").as_uri())


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_missing_folder_does_not_count_as_lost_blobs(folder, tmp_path, instead):
    blobs = Blobs(folder.as_uri())
    blobs.put(KEY, b"x")
    folder.rename(folder.with_name("elsewhere"))
    if instead == "a file":
        folder.write_text("a file where the folder was")
        with pytest.raises(StorageUnavailable):
            blobs.put(KEY, b"y")
    for read in (blobs.read, blobs.size, blobs.chunks, lambda key: blobs.fetch(key, tmp_path / "target")):
        with pytest.raises(StorageUnavailable):
            read(KEY)
    if instead == "a file":
        folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    assert blobs.read(KEY) == b"x"


def test_a_missing_source_is_not_a_missing_blob(blobs, tmp_path):
    with pytest.raises(FileNotFoundError):
        blobs.put(KEY, tmp_path / "gone")
    with pytest.raises(BlobMissing):
        blobs.read(KEY)


# --- a remote store ------------------------------------------------------------------------------


def test_a_remote_store_without_a_server_is_unavailable(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "here",
    }.items():
        monkeypatch.setenv(name, value)
    blobs = Blobs("s3://bucket/prefix", retry_s=0.2)
    for ask in (lambda: blobs.put(KEY, b"x"), lambda: blobs.read(KEY), blobs.check, lambda: blobs.delete_all("jobs")):
        with pytest.raises(StorageUnavailable) as caught:
            ask()
        assert "secret" not in str(caught.value)


def test_a_missing_bucket_is_unavailable(s3_url):
    blobs = Blobs("s3://never-made/prefix")
    for write in (
        lambda: blobs.put(KEY, b"x"),
        lambda: blobs.put_stream(KEY, iter([os.urandom(MIB)] * 20)),
        lambda: blobs.delete_all("jobs"),
        blobs.check,
    ):
        with pytest.raises(StorageUnavailable):
            write()


def test_blobs_are_stored_under_their_prefix_and_are_not_mapped(s3_url, s3_server):
    blobs = Blobs(s3_url)
    blobs.put(KEY, b"x")
    assert s3_server.keys(s3_url) == [f"some/prefix/{KEY}"]
    assert blobs.get_local_folder("jobs") is None


def test_a_stream_that_breaks_leaves_no_part_in_the_bucket(s3_url, s3_server):
    def broken() -> Iterator[bytes]:
        yield from [os.urandom(MIB)] * 30
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  (it has no message)
        Blobs(s3_url).put_stream(KEY, broken())
    assert s3_server.keys(s3_url) == []
    bucket = s3_url.split("/")[2]
    uploads = httpx2.get(f"{s3_server.url}/{bucket}?uploads", trust_env=False).text
    assert bucket in uploads
    assert "<Key>" not in uploads


@pytest.fixture
def blobs_with_short_timeouts(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    """A store that waits one second for each request rather than half a minute."""
    monkeypatch.setenv("AWS_TIMEOUT", "1s")
    return Blobs(s3_url, retry_s=0.3)


def test_a_remote_store_that_stops_responding_is_soon_unavailable(
    blobs_with_short_timeouts, s3_server: S3Server, tmp_path
):
    blobs_with_short_timeouts.put(KEY, b"x")
    s3_server.pause()
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20 * MIB))
    for ask in (
        lambda: blobs_with_short_timeouts.put(KEY, b"y"),
        lambda: blobs_with_short_timeouts.put(KEY, large),
        lambda: blobs_with_short_timeouts.put_stream(KEY, iter([os.urandom(MIB)] * 20)),
        lambda: blobs_with_short_timeouts.read(KEY),
        lambda: blobs_with_short_timeouts.size(KEY),
        lambda: blobs_with_short_timeouts.fetch(KEY, tmp_path / "target"),
        lambda: blobs_with_short_timeouts.delete(KEY),
        lambda: blobs_with_short_timeouts.delete_all("jobs"),
        blobs_with_short_timeouts.check,
    ):
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            ask()
        assert time.monotonic() - began < 20
    assert not (tmp_path / "target").exists()
    s3_server.resume()
    blobs_with_short_timeouts.check()


def test_a_slow_reader_may_take_longer_than_the_timeout_of_a_request(blobs_with_short_timeouts):
    content = os.urandom(5 * models.blobs.RANGE_BYTES)
    blobs_with_short_timeouts.put(KEY, content)
    taken = []
    for piece in blobs_with_short_timeouts.chunks(KEY):
        if not taken:
            time.sleep(1.5)  # longer than a request may take
        taken.append(piece)
    assert b"".join(taken) == content


def test_a_slow_sender_may_take_longer_than_the_timeout_of_a_request(blobs_with_short_timeouts):
    def slow() -> Iterator[bytes]:
        for number in range(20):
            if number == 10:
                time.sleep(1.5)
            yield bytes(MIB)

    assert blobs_with_short_timeouts.put_stream(KEY, slow()) == 20 * MIB


def test_a_remote_store_that_stops_within_a_blob_is_unavailable(
    blobs_with_short_timeouts, s3_server: S3Server, tmp_path
):
    """An incomplete file must not be left, because it would look like the blob."""
    blobs_with_short_timeouts.put(KEY, os.urandom(3 * models.blobs.RANGE_BYTES))
    chunks = blobs_with_short_timeouts.chunks(KEY)
    next(chunks)
    s3_server.pause()
    with pytest.raises(StorageUnavailable):
        list(chunks)
    s3_server.resume()

    def freezing(key: str) -> Iterator[bytes]:
        for piece in Blobs.chunks(blobs_with_short_timeouts, key):
            yield piece
            s3_server.pause()

    blobs_with_short_timeouts.chunks = freezing
    with pytest.raises(StorageUnavailable):
        blobs_with_short_timeouts.fetch(KEY, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_blob_that_is_replaced_while_it_is_read_is_never_a_mixture(s3_url):
    blobs = Blobs(s3_url)
    blobs.put(KEY, b"1" * (2 * models.blobs.RANGE_BYTES))
    chunks = blobs.chunks(KEY)
    next(chunks)
    blobs.put(KEY, b"2" * (2 * models.blobs.RANGE_BYTES))
    with pytest.raises(StorageUnavailable):
        list(chunks)


def test_a_changed_file_is_never_returned(blobs, tmp_path):
    key, target = "jobs/job_1/1/model.keras", tmp_path / "fetched"
    (tmp_path / "model").write_bytes(b"weights" * 1000)
    expected = compute_file_digest(tmp_path / "model")
    blobs.put(key, tmp_path / "model")
    assert blobs.read(key, expected) == b"weights" * 1000
    blobs.fetch(key, target, expected)
    blobs.require_whole(key, expected)
    for damaged, why in ((b"weights" * 999, "6,993 bytes; expected 7,000"), (b"Weights" * 1000, "SHA-256 begins with")):
        blobs.put(key, damaged)
        target.unlink(missing_ok=True)
        for read in (blobs.read, lambda *given: blobs.fetch(key, target, given[1]), blobs.require_whole):
            with pytest.raises(ArtifactDamaged, match=f"The file with the model of job_1 is damaged. .*{why}"):
                read(key, expected)
        assert not list(tmp_path.glob("fetched*"))


def test_parts_of_a_file_are_checked_by_the_digests_of_their_blocks(blobs, tmp_path):
    key, file = "datasets/abc/images.npy", tmp_path / "images.npy"
    content = np.random.default_rng(0).bytes(MIN_BLOCK_BYTES * 2 + 5)
    file.write_bytes(content)
    expected = compute_file_digest(file)
    damaged = content[:MIN_BLOCK_BYTES] + b"\0\0" + content[MIN_BLOCK_BYTES + 2 :]
    for stored in (content, damaged):
        blobs.put(key, stored)
        with open_blob(blobs, key, 100, expected) as opened:
            assert opened.read(7) == content[:7]
            opened.seek(MIN_BLOCK_BYTES * 2 - 3)
            if stored == content:
                assert opened.read() == content[-8:]
            else:
                with pytest.raises(DatasetDamaged, match="bytes 1,048,576 to 2,097,152"):
                    opened.read(1)
            opened.seek(-5, io.SEEK_END)
            assert opened.read() == content[-5:]
    blobs.put(key, content[:-1])
    with pytest.raises(DatasetDamaged, match="expected 2,097,157"), open_blob(blobs, key, 100, expected):
        pass


def test_digests_of_blocks_stay_small_for_large_files():
    for size in (0, 1, 10**9, 10**12):
        digest = FileDigest(size, "")
        assert size <= digest.block_bytes * MAX_BLOCKS
        assert digest.block_bytes == MIN_BLOCK_BYTES or size > digest.block_bytes * MAX_BLOCKS // 2
