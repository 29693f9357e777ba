"""Signals that end the demonstration: noted at any time, handled only where it is safe to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end."""


class Interrupts:
    """Notes signals; raises Interrupted for the first one, and only within `allowed()`.

    So making and removing folders and processes is never torn, and a later signal only makes the end hurry.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._allowed = False
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
                signal.signal(number, self._note)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """A stretch that a signal may end, also one that came before."""
        self._allowed = True
        try:
            if self.signals:
                raise Interrupted
            yield
        finally:
            self._allowed = False

    def close(self, status: int) -> int:
        """From here on signals do nothing. Gives the status, or that of a program that the first signal ended."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        return 128 + self.signals[0] if self.signals else status

    def _note(self, number: int, frame: object) -> None:
        self.signals.append(number)
        if self._allowed:
            self._allowed = False
            raise Interrupted
