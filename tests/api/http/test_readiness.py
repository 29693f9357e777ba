"""The service limits how often it checks whether it can work."""

import asyncio
import threading

import pytest

from api.http import app_context
from api.http.app_context import Readiness
from heldout.errors import HeldoutError, StorageUnavailable


def test_concurrent_requests_share_one_readiness_check():
    looks = []

    async def ask() -> None:
        readiness = Readiness(lambda: looks.append(threading.current_thread()), lasts_s=60)
        await asyncio.gather(*(readiness.require() for _ in range(50)))
        await readiness.require()

    asyncio.run(ask())
    assert len(looks) == 1
    assert looks[0] is not threading.main_thread(), "the event loop does not wait for the database"


def test_a_failure_is_cached_as_long_as_a_success_and_then_checked_again(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(app_context, "monotonic", lambda: now[0])
    answers: list[HeldoutError | None] = [StorageUnavailable(), None, StorageUnavailable()]

    def look() -> None:
        if (failure := answers.pop(0)) is not None:
            raise failure

    async def ask() -> None:
        readiness = Readiness(look, lasts_s=2)
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                await readiness.require()
        assert len(answers) == 2
        now[0] = 2.1
        await readiness.require()
        await readiness.require()
        assert len(answers) == 1

    asyncio.run(ask())
