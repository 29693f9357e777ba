"""A second transaction that begins while a first is open, and waits for its end."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, event, text

from models.database import Database

PATIENCE_S = 120


class Other:
    """A second thread with its own transaction, and the order in which both threads' transactions continue."""

    def __init__(self, database: Database, pool: ThreadPoolExecutor) -> None:
        self._database = database
        self._pool = pool
        self._beginning = threading.Event()
        self._steps: list[str] = []
        event.listen(database.engine, "checkout", self._note_beginning)
        event.listen(database.engine, "begin", lambda connection: self._note(connection, "begun"))
        event.listen(database.engine, "commit", lambda connection: self._note(connection, "committing"))

    @property
    def _is_postgresql(self) -> bool:
        return self._database.engine.dialect.name == "postgresql"

    def submit(self, act: Callable[..., Any], *arguments: object, skips_locked: bool = False) -> "Future[Any]":
        """Act in the second thread while the first one's transaction is open.

        On PostgreSQL this returns once the second transaction waits for a lock, or has ended if it `skips_locked`. On
        SQLite it returns once the second transaction asks to begin.
        """
        outcome = self._pool.submit(act, *arguments)
        if not self._is_postgresql:
            assert self._beginning.wait(PATIENCE_S), "The second transaction did not begin."
            return outcome
        if skips_locked:
            outcome.result(PATIENCE_S)
            return outcome
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while True:
            with self._database.read() as session:
                if session.scalar(blocked):
                    return outcome
            assert not outcome.done(), "The second transaction did not wait for the first."

    def require_race(self) -> None:
        """Fail unless the second transaction came while the first was open, and waited for its end."""
        if not self._is_postgresql:
            assert self._beginning.is_set(), "Nothing raced."
            assert self._steps.index("first committing") < self._steps.index("second begun")

    def _note_beginning(self, *_: object) -> None:
        """Note that a connection was taken from the pool, which happens just before a transaction begins."""
        if self._thread() == "second":
            self._beginning.set()

    def _note(self, connection: Connection, step: str) -> None:
        if connection.get_execution_options().get("writes"):
            self._steps.append(f"{self._thread()} {step}")

    @staticmethod
    def _thread() -> str:
        return "first" if threading.current_thread() is threading.main_thread() else "second"
