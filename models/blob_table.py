"""Blobs in a table of a SQLite database, for a service whose data are a single file."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

# How long a call waits for another writer.
BUSY_S = 30.0
# More than SQLite stores in one row.
MAX_BYTES = 2**31 - 1
# No migration makes it, because other services store their blobs elsewhere.
_TABLE = "CREATE TABLE IF NOT EXISTS blobs (key TEXT PRIMARY KEY, content BLOB NOT NULL, stored_ns INTEGER NOT NULL)"


class BlobTable:
    """A store with the methods of obstore's stores that `Blobs` calls. Reads and writes whole blobs in memory.

    Each call has a connection of its own, so that no auxiliary file is left when the service has ended.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._run(_TABLE)

    def put(self, key: str, content: IO[bytes] | Iterator[bytes], **options: object) -> None:
        self._run("REPLACE INTO blobs VALUES (?, ?, ?)", key, b"".join(content), time.time_ns())

    def get(self, key: str, *, options: Any = None) -> Any:
        asked = options or {}
        if asked.get("if_match") not in (None, self.head(key)["e_tag"]):
            raise OSError(f"{key} was replaced while it was read.")
        first, end = asked.get("range", (0, MAX_BYTES))
        content = self.get_range(key, start=first, end=end)
        return SimpleNamespace(bytes=lambda: content)  # as obstore returns it

    def get_range(self, key: str, *, start: int, end: int) -> bytes:
        found = self._run("SELECT substr(content, ?, ?) FROM blobs WHERE key = ?", start + 1, end - start, key)
        if not found:
            raise FileNotFoundError(key)
        return bytes(found[0][0] or b"")

    def head(self, key: str) -> dict[str, Any]:
        found = self._list(key, f"{key}\0")
        if not found:
            raise FileNotFoundError(key)
        return found[0]

    def list(self, prefix: str | None = None) -> Iterator[Sequence[dict[str, Any]]]:
        # "0" comes after "/".
        yield self._list("", "\U0010ffff") if prefix is None else self._list(f"{prefix}/", f"{prefix}0")

    def copy(self, key: str, to: str) -> None:
        self.put(to, iter([self.get(key).bytes()]))

    def delete(self, keys: str | Sequence[str]) -> None:
        listed = json.dumps([keys] if isinstance(keys, str) else keys)
        self._run("DELETE FROM blobs WHERE key IN (SELECT value FROM json_each(?))", listed)

    def _list(self, first: str, end: str) -> Sequence[dict[str, Any]]:
        statement = "SELECT key, length(content), stored_ns FROM blobs WHERE key >= ? AND key < ?"
        return [
            {"path": key, "size": size, "e_tag": str(ns), "last_modified": datetime.fromtimestamp(ns / 1e9, UTC)}
            for key, size, ns in self._run(statement, first, end)
        ]

    def _run(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own."""
        with closing(sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")  # what was answered with 201 survives a power cut
            return connection.execute(statement, values).fetchall()
