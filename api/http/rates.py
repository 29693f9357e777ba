"""How many requests a key may send: counted in the broker's Redis where there is one, else in this process.

Workers talk to the database, so their progress is no request and is never counted.
"""

import hashlib
import math
import time
from collections.abc import Mapping

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from heldout.errors import TooManyRequests
from heldout.service.settings import Settings

log = structlog.get_logger("heldout.api")

# A Redis that does not answer holds no request up for longer, and is not asked again for a while.
REDIS_TIMEOUT_S = 0.5
REDIS_REST_S = 5.0


class Rates:
    """The rates of all keys of this app, in windows of fixed length."""

    def __init__(self, settings: Settings) -> None:
        self._items = [(_name_limit(item), item) for item in parse_many(settings.rate)]
        self._storage = _open_storage(settings)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._rests_until = 0.0
        self._policy = ", ".join(f'"{name}";q={item.amount};w={item.get_expiry()}' for name, item in self._items)

    async def count(self, key: str) -> Mapping[str, str]:
        """Count a request that bears this key or session; gives the headers that tell of it.

        Requests are let through uncounted while Redis does not answer.

        Raises:
            TooManyRequests.
        """
        if time.monotonic() < self._rests_until:
            return {}
        # Neither the memory nor Redis needs to know the key itself.
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
            has_room = await self._limiter.hit(item, who)
            stats = await self._limiter.get_window_stats(item, who)
            seconds = max(1, math.ceil(stats.reset_time - time.time()))
            if not has_room:
                error = TooManyRequests(f"{item.amount:,} requests per {name}", seconds)
                error.headers |= self._make_headers(0, seconds, name)
                raise error
            left.append((stats.remaining, seconds, name))
        return self._make_headers(*min(left))

    def _make_headers(self, remaining: int, seconds: int, name: str) -> dict[str, str]:
        return {"RateLimit-Policy": self._policy, "RateLimit": f'"{name}";r={remaining};t={seconds}'}


def _name_limit(item: RateLimitItem) -> str:
    return item.GRANULARITY.name


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
