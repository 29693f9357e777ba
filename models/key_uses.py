"""Records when keys were last used: in memory with each request, and in the database from time to time."""

import threading
from time import monotonic

from models.database import Database
from models.store import keys


class KeyUses:
    """The key uses of one process. Requests must not wait for a write, and seconds do not matter."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str) -> None:
        """Note that a request uses this key now."""
        self._used[key_id] = monotonic()

    def write(self, database: Database) -> None:
        """Write the uses since the last call. They are lost if this fails. Raises DatabaseUnavailable."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            now = monotonic()
            with database.write() as session:
                keys.note_uses(session, {key_id: now - at for key_id, at in used.items()})
