"""How slowly the other side of a connection may send or take."""

# How long a client may pause within a body, and may take none of an answer that waits for it.
PATIENCE_S = 30.0


class Pace:
    """A least rate over any stretch of a body: a client that was quick before may pause no longer than another one."""

    def __init__(self, bytes_per_s: float, patience_s: float = PATIENCE_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._patience_s = patience_s
        self._left_s = patience_s

    def note(self, received_bytes: int, waited_s: float) -> None:
        """So many bytes came within a time in which we were ready to take more."""
        earned_s = received_bytes / self._bytes_per_s
        self._left_s = min(self._patience_s, self._left_s + earned_s) - waited_s

    @property
    def is_too_slow(self) -> bool:
        return self._left_s < 0
