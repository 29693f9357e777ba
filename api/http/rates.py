"""Rate limits per key, counted in the broker's Redis, or in this process if there is no Redis.

Workers report progress to the database directly, so that never counts as a request.
"""

import hashlib
import math
import time
from collections.abc import Mapping

import structlog
from limits import parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage

from heldout.errors import TooManyRequests
from heldout.service.settings import Settings

log = structlog.get_logger("heldout.api")

# A request waits this long for an unresponsive Redis, which is then left alone for a while.
REDIS_TIMEOUT_S = 0.5
REDIS_REST_S = 5.0


class Rates:
    """Counts the requests of each key in windows of fixed length."""

    def __init__(self, settings: Settings) -> None:
        self._items = [(item.GRANULARITY.name, item) for item in parse_many(settings.rate)]
        self._storage = _open_storage(settings)
        self._rests_until = 0.0
        self._policy = ", ".join(f'"{name}";q={item.amount};w={item.get_expiry()}' for name, item in self._items)

    async def count(self, key: str) -> Mapping[str, str]:
        """Count a request with this key or session. Returns the rate limit's headers.

        While Redis does not answer, requests are not counted.

        Raises:
            TooManyRequests: if the key has used up one of its limits.
        """
        if time.monotonic() < self._rests_until:
            return {}
        # The storage does not need the key itself.
        who = hashlib.sha256(key.encode()).hexdigest()[:32]
        try:
            return await self._count_request(who)
        except self._storage.base_exceptions:
            self._rests_until = time.monotonic() + REDIS_REST_S
            log.warning("rates_not_counted", rest_s=REDIS_REST_S)
            return {}

    async def close(self) -> None:
        """Close the connections to Redis."""
        if isinstance(self._storage, RedisStorage):
            await self._storage.bridge.storage.aclose()  # type: ignore[attr-defined]  # redis-py's client

    async def _count_request(self, who: str) -> Mapping[str, str]:
        left: list[tuple[int, int, str]] = []
        for name, item in self._items:
            key = item.key_for(who)
            # The limiters of `limits` would ask the storage for the count again.
            remaining = item.amount - await self._storage.incr(key, item.get_expiry())
            seconds = max(1, math.ceil(await self._storage.get_expiry(key) - time.time()))
            if remaining < 0:
                error = TooManyRequests(f"{item.amount:,} requests per {name}", seconds)
                error.headers |= self._make_headers(0, seconds, name)
                raise error
            left.append((remaining, seconds, name))
        return self._make_headers(*min(left))

    def _make_headers(self, remaining: int, seconds: int, name: str) -> dict[str, str]:
        return {"RateLimit-Policy": self._policy, "RateLimit": f'"{name}";r={remaining};t={seconds}'}


def _open_storage(settings: Settings) -> Storage:
    if settings.redis_url is None:
        return MemoryStorage()
    return RedisStorage(
        f"async+{settings.redis_url.get_secret_value()}",
        implementation="redispy",
        key_prefix="heldout-rates",
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
