"""How many streams of events each owner has open in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from heldout.errors import QuotaExceeded
from heldout.quotas import COUNTED, Quota


@dataclass(frozen=True)
class StreamOwner:
    """Whose stream it is, by which key, and how many streams this owner may have; None for any number."""

    name: str
    key_id: str
    allowed: int | None = None


class StreamPlaces:
    """Counts streams on the event loop, so that the count is exact."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, owner: StreamOwner) -> Iterator[None]:
        """One of the owner's places, while the block runs. Raises QuotaExceeded."""
        used, allowed = self._open[owner.name], owner.allowed
        if allowed is not None and used >= allowed:
            raise QuotaExceeded(Quota.STREAMS.value, COUNTED[Quota.STREAMS], used, allowed)
        self._open[owner.name] += 1
        try:
            yield
        finally:
            self._open[owner.name] -= 1
            if not self._open[owner.name]:
                del self._open[owner.name]
