"""Datasets, checkpoints and artifacts: a local folder or S3, one interface, chosen by URL."""

import secrets
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObjectNotFound
from obstore.store import LocalStore, ObjectStore, from_url

from heldout.errors import StorageUnavailable

CHUNK_BYTES = 1024 * 1024


class BlobMissing(KeyError):
    """There is no blob under this key."""


class Blobs:
    """Keys are relative paths (`datasets/<sha256>/…`, `jobs/<id>/<attempt>/…`); a put is whole or not at all."""

    def __init__(self, url: str) -> None:
        """Raises StorageUnavailable if the folder cannot be made."""
        parsed = urlparse(url)
        self._root: Path | None = None
        self._store: ObjectStore
        with _answering():
            if parsed.scheme == "file":
                self._root = Path(unquote(parsed.path))
                self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._store = LocalStore(self._root)
            else:
                self._store = from_url(url)

    def put(self, key: str, source: Path | bytes) -> None:
        """Store a file or bytes under `key`, over what was there. Raises FileNotFoundError if the file is gone."""
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as opened, _answering():
            obstore.put(self._store, key, opened)

    def size(self, key: str) -> int:
        """Bytes of the blob. Raises BlobMissing."""
        with _answering(key):
            return int(obstore.head(self._store, key)["size"])

    def read(self, key: str) -> bytes:
        """The whole blob; for small ones. Raises BlobMissing."""
        with _answering(key):
            return bytes(obstore.get(self._store, key).bytes())

    def chunks(self, key: str) -> Iterator[bytes]:
        """The blob in pieces of about a megabyte. Raises BlobMissing before the first one."""
        with _answering(key):
            found = obstore.get(self._store, key)
        return (bytes(chunk) for chunk in found.stream(min_chunk_size=CHUNK_BYTES))

    def fetch(self, key: str, target: Path) -> None:
        """Write the blob to the file `target`. Raises BlobMissing."""
        if self._root is not None:
            source = self._root / key
            if not source.is_file():
                raise BlobMissing(key)
            shutil.copyfile(source, target)
            return
        with target.open("wb") as file:
            for chunk in self.chunks(key):
                file.write(chunk)

    def delete_all(self, prefix: str) -> None:
        """Delete every blob whose key is under the folder `prefix`."""
        with _answering():
            for page in obstore.list(self._store, prefix):
                obstore.delete(self._store, [entry["path"] for entry in page])
        if self._root is not None:
            shutil.rmtree(self._root / prefix, ignore_errors=True)

    def delete(self, key: str) -> None:
        """Delete a blob if it is there."""
        try:
            with _answering(key):
                obstore.delete(self._store, key)
        except BlobMissing:
            pass

    def local_folder(self, prefix: str) -> Path | None:
        """The folder on this machine that holds `prefix`, to be mapped and never written; None for remote stores."""
        return None if self._root is None else self._root / prefix

    def check(self) -> None:
        """Write, read and delete a small blob. Raises StorageUnavailable."""
        key = f"check-{secrets.token_hex(8)}"  # of its own: several processes may check at once
        self.put(key, b"heldout")
        self.read(key)
        self.delete(key)


@contextmanager
def _answering(key: str = "") -> Iterator[Any]:
    try:
        yield
    except (ObjectNotFound, FileNotFoundError) as error:
        raise BlobMissing(key) from error
    except (BaseError, OSError) as error:
        raise StorageUnavailable from error
