"""One program at a time has a home: `heldout up`, or a command that fills it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heldout.errors import OperatorError


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Hold the home's lock during the block; it ends with this process in any case.

    Raises:
        OperatorError: if another service runs in this home.
    """
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"A service already runs in {home}. Stop it, or choose another --home.") from None
        yield
    finally:
        os.close(lock)
