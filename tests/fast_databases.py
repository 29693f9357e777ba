"""Make databases in the process of the tests fast: statements are compiled once, and SQLite does not sync."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from models import database

make_durable_engine = database._make_engine


class SharedStatements:
    """Compiled statements of all engines for one type of database, because each test makes its own engines."""

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._compiled.get(key[1:])  # without the dialect, of which each engine has its own instance

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._compiled[key[1:]] = compiled


@contextmanager
def fast_databases() -> Iterator[None]:
    """Within the block, new `Database` objects share compiled statements, and SQLite never waits for the disk."""
    statements: dict[str, SharedStatements] = {}

    def make_fast_engine(*arguments: Any) -> Engine:
        engine = make_durable_engine(*arguments)
        engine._compiled_cache = statements.setdefault(engine.dialect.name, SharedStatements())  # type: ignore[assignment]
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_make_engine", make_fast_engine)
        yield
