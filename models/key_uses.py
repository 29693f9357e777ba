"""When keys were last used: noted in memory with each request, and written from time to time."""

import threading
from time import monotonic

from models.database import Database
from models.store import keys


class KeyUses:
    """Of one process. A request must not wait for a write, and need not tell the time to the second."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str) -> None:
        """A request bears this key now."""
        self._used[key_id] = monotonic()

    def write(self, database: Database) -> None:
        """Write what was noted since the last call. What cannot be written is lost. Raises DatabaseUnavailable."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            now = monotonic()
            with database.write() as session:
                keys.note_uses(session, {key_id: now - at for key_id, at in used.items()})
