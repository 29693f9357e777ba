"""The blob store of datasets, checkpoints and artifacts: a folder, S3 or a SQLite file, chosen by URL."""

import hashlib
import io
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObjectNotFound
from obstore.store import LocalStore, ObjectStore, from_url

from heldout.errors import HeldoutError, StorageUnavailable
from models.blob_table import BlobTable
from models.digests import FileDigest, make_damaged_error

CHUNK_BYTES = 1024 * 1024
RETRY_S = 10
PART_BYTES = 8 * 1024 * 1024  # S3 takes 10,000 parts
# A remote store must answer each request within half a minute, so large blobs are requested in pieces.
RANGE_BYTES = 4 * 1024 * 1024
# The suffix of a file in a local folder that obstore is still writing.
PARTIAL = re.compile(r"#\d+$")
# Versions of blobs that a process remembers as checked.
MAX_CHECKED = 4096


class BlobMissing(KeyError):
    """There is no blob under this key."""


@contextmanager
def raise_if_missing(error: HeldoutError) -> Iterator[None]:
    """Raise this error if a blob that the block needs is missing."""
    try:
        yield
    except BlobMissing as missing:
        raise error from missing


@dataclass(frozen=True)
class StoredBlob:
    """An entry of the store's listing. `stored_at` is by the store's own clock."""

    key: str
    size_bytes: int
    stored_at: datetime


class Blobs:
    """A blob store. Keys are relative paths (`datasets/<sha256>/…`, `jobs/<id>/<attempt>/…`). Puts are atomic."""

    def __init__(self, url: str, retry_s: float = RETRY_S) -> None:
        """Open the store. Raises StorageUnavailable if the folder cannot be created.

        Args:
            retry_s: how long to retry a request to a remote store.
        """
        parsed = urlparse(url)
        self._checked: set[tuple[object, ...]] = set()
        self._root: Path | None = None
        self._store: ObjectStore | BlobTable
        with self._translate_errors():
            if parsed.scheme == "file":
                self._root = Path(unquote(parsed.path))
                self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._store = LocalStore(self._root)
            elif parsed.scheme == "sqlite":
                self._store = BlobTable(Path(url.partition("///")[2]))
            else:
                self._store = from_url(url, **_get_remote_options(parsed.scheme, retry_s))

    def put(self, key: str, source: Path | bytes) -> None:
        """Store a file or bytes under `key`, replacing any blob there. Raises FileNotFoundError if the file is gone."""
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as opened, self._translate_errors():
            self._store.put(key, opened)

    def put_stream(self, key: str, chunks: Iterator[bytes]) -> int:
        """Store chunks as one blob, atomically, with a few chunks in memory at a time. Returns the size in bytes.

        Errors of `chunks` are passed on.
        """
        broken: list[Exception] = []
        size = 0

        def watch_chunks() -> Iterator[bytes]:
            nonlocal size
            try:
                for chunk in chunks:
                    size += len(chunk)
                    yield chunk
            except Exception as error:
                broken.append(error)
                raise

        try:
            with self._translate_errors():
                self._store.put(key, watch_chunks(), chunk_size=PART_BYTES, max_concurrency=2)
        except Exception:
            # The library may have wrapped the iterator's error.
            if broken:
                raise broken[0] from None
            raise
        return size

    def size(self, key: str) -> int:
        """Return the blob's size in bytes. Raises BlobMissing."""
        with self._translate_errors(key):
            return int(self._store.head(key)["size"])

    def read(self, key: str, expected: FileDigest | None = None) -> bytes:
        """Read a small blob completely.

        Args:
            expected: the digest of the stored blob, if known.
        Raises:
            BlobMissing, DatasetDamaged, ArtifactDamaged.
        """
        with self._translate_errors(key):
            content = bytes(self._store.get(key).bytes())
        if expected is not None:
            _require_same(key, expected, len(content), hashlib.sha256(content).hexdigest())
        return content

    def require_whole(self, key: str, expected: FileDigest | None) -> None:
        """Check a blob of which only parts will be read against its digest. A process checks each version once.

        Args:
            expected: None if an earlier release stored the blob; then nothing is checked.
        Raises:
            BlobMissing, DatasetDamaged, ArtifactDamaged.
        """
        if expected is None:
            return
        with self._translate_errors(key):
            about = self._store.head(key)
        version = (key, expected.sha256, about["size"], about["e_tag"], about["last_modified"])
        if version in self._checked:
            return
        digest = hashlib.sha256()
        for chunk in self.chunks(key) if expected.size_bytes in {None, about["size"]} else ():
            digest.update(chunk)
        _require_same(key, expected, int(about["size"]), digest.hexdigest())
        if len(self._checked) >= MAX_CHECKED:
            self._checked.clear()
        self._checked.add(version)

    def read_range(self, key: str, first: int, end: int) -> bytes:
        """Read the bytes from `first` up to `end`, which must not exceed the size. Raises BlobMissing."""
        with self._translate_errors(key):
            return bytes(self._store.get_range(key, start=first, end=end))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the blob in pieces of about a megabyte. The caller may take as long as it needs for each.

        Raises:
            BlobMissing: before the first piece.
            StorageUnavailable: at any piece, also if the blob is replaced in the meantime.
        """
        if isinstance(self._store, LocalStore):
            with self._translate_errors(key):
                found = self._store.get(key)
            return self._iterate_pieces(found, key)
        with self._translate_errors(key):
            about = self._store.head(key)
        return self._iterate_ranges(key, int(about["size"]), about["e_tag"])

    def _iterate_ranges(self, key: str, size: int, e_tag: str | None) -> Iterator[bytes]:
        for first in range(0, size, RANGE_BYTES):
            options: obstore.GetOptions = {"range": (first, min(first + RANGE_BYTES, size))}
            if e_tag is not None:
                options["if_match"] = e_tag
            with self._translate_errors(key):
                found = memoryview(self._store.get(key, options=options).bytes())
            for at in range(0, len(found), CHUNK_BYTES):
                yield bytes(found[at : at + CHUNK_BYTES])

    def _iterate_pieces(self, found: "obstore.GetResult", key: str) -> Iterator[bytes]:
        with self._translate_errors(key):
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def fetch(
        self,
        key: str,
        target: Path,
        expected: FileDigest | None = None,
        *,
        durable: bool = False,
        watch: Callable[[], object] = lambda: None,
    ) -> None:
        """Write the blob to the file `target`, atomically.

        Args:
            expected: the digest of the stored blob, if known.
            durable: whether the file must survive a power cut.
            watch: called before each piece. May raise to stop the fetch.

        Raises:
            BlobMissing: if there is no such blob.
            DatasetDamaged, ArtifactDamaged: if the blob differs from what was stored.
        """
        part = target.with_name(f"{target.name}.part")
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                for chunk in self.chunks(key):
                    watch()
                    file.write(chunk)
                    if expected is not None:
                        digest.update(chunk)
                if expected is not None:
                    _require_same(key, expected, file.tell(), digest.hexdigest())
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def copy(self, key: str, to: str) -> None:
        """Copy a blob to another key, without reading it. Raises BlobMissing."""
        with self._translate_errors(key):
            self._store.copy(key, to)

    def stored(self, prefix: str | None = None) -> Iterator[StoredBlob]:
        """Yield every blob in the folder `prefix`, or in the whole store, in no particular order."""
        with self._translate_errors():
            for page in self._store.list(prefix):
                for entry in page:
                    yield StoredBlob(entry["path"], int(entry["size"]), entry["last_modified"])

    def delete_partial(self, before: datetime) -> int:
        """Delete files left by puts that were interrupted before that time, such as by a power cut. Returns the number.

        A local folder has them next to the blobs, hidden from listings. Remote stores clean up themselves.
        """
        count = 0
        for path in self._root.rglob("*#*") if self._root is not None else ():
            with suppress(OSError):
                if PARTIAL.search(path.name) and path.is_file() and path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    count += 1
        return count

    def delete_all(self, prefix: str) -> None:
        """Delete every blob in the folder `prefix`."""
        with self._translate_errors():
            for page in self._store.list(prefix):
                self._store.delete([entry["path"] for entry in page])
        if self._root is not None:
            shutil.rmtree(self._root / prefix, ignore_errors=True)

    def delete(self, key: str) -> None:
        """Delete a blob if it exists."""
        try:
            with self._translate_errors(key):
                self._store.delete(key)
        except BlobMissing:
            pass

    def get_local_folder(self, prefix: str) -> Path | None:
        """Return the local folder of `prefix`, for mapping files read-only. None for remote stores."""
        return None if self._root is None else self._root / prefix

    def check(self) -> None:
        """Write, read and delete a small blob. Raises StorageUnavailable."""
        key = f"check-{secrets.token_hex(8)}"  # unique, because several processes may check at once
        self.put(key, b"heldout")
        self.read(key)
        self.delete(key)

    @contextmanager
    def _translate_errors(self, key: str | None = None) -> Iterator[None]:
        """Translate the library's errors. Without a key, a missing object means a missing bucket or folder."""
        try:
            yield
        except (ObjectNotFound, FileNotFoundError) as error:
            # If the folder itself is missing, such as on an unmounted disk, its blobs are not lost.
            if key is None or (self._root is not None and not self._root.is_dir()):
                raise StorageUnavailable from error
            raise BlobMissing(key) from error
        except (BaseError, OSError, sqlite3.Error) as error:
            raise StorageUnavailable from error


def _require_same(key: str, expected: FileDigest, size: int, sha256: str) -> None:
    """Raise DatasetDamaged or ArtifactDamaged if the blob differs from what was stored."""
    if expected.size_bytes not in {None, size}:
        raise make_damaged_error(key, f"It has {size:,} bytes; expected {expected.size_bytes:,}.")
    if sha256 != expected.sha256:
        raise make_damaged_error(key, f"Its SHA-256 begins with {sha256[:8]}; expected {expected.sha256[:8]}.")


def _get_remote_options(scheme: str, retry_s: float) -> dict[str, Any]:
    """Get a remote store's options. The library's default of retrying for three minutes is too long for requests."""
    if scheme == "memory":
        return {}
    return {"retry_config": {"max_retries": 5, "retry_timeout": timedelta(seconds=retry_s)}}
