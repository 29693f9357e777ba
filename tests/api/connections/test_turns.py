"""Turns decide whose request is handled next when many arrive at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from api.connections import protocol
from api.connections.protocol import wrap_in_turns
from api.http.request_id import HAS_VALID_KEY
from api.turns import Turn, Turns


def run(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(steps(), 20))


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def hold_timers(monkeypatch: pytest.MonkeyPatch, delay_s: float) -> list[Callable[[], None]]:
    """Let timers of this delay end only when the test calls them, because a busy machine can be late."""
    loop, held = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def hold(after_s: float, call: Callable[..., None], *arguments: object) -> asyncio.TimerHandle:
        if after_s != delay_s:
            return call_later(after_s, call, *arguments)
        held.append(partial(call, *arguments))
        return call_later(3600, call, *arguments)

    monkeypatch.setattr(loop, "call_later", hold)
    return held


def start_asking(order: list[str], taken: Turns, name: str) -> asyncio.Task[Turn]:
    async def ask() -> Turn:
        turn = await taken.take(name[0])
        order.append(name)
        return turn

    return asyncio.create_task(ask())


def test_a_client_with_one_request_goes_before_a_busy_clients_second() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1, longest_s=60)
        first = await taken.take("x")
        tasks = [start_asking(order, taken, name) for name in ("a1", "a2", "a3", "b1", "c1", "c2")]
        await settle()
        assert order == []
        first.end()
        while len(order) < 6:
            await settle()
            (await tasks[["a1", "a2", "a3", "b1", "c1", "c2"].index(order[-1])]).end()
        assert order == ["a1", "b1", "c1", "a2", "c2", "a3"]

    run(steps)


def test_the_number_of_turns_is_limited_and_long_ones_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        order: list[str] = []
        timers = hold_timers(monkeypatch, 60)
        taken = Turns(at_once=2, longest_s=60)
        tasks = [start_asking(order, taken, f"a{number}") for number in range(4)]
        await settle()
        assert order == ["a0", "a1"]
        for number in range(4):
            timers[number]()
            await settle()
        assert order == ["a0", "a1", "a2", "a3"]
        for task in tasks:
            (await task).end()
        again = [start_asking(order, taken, name) for name in ("b", "c", "d")]
        await settle()
        assert order[4:] == ["b", "c"], "no turn was returned twice"
        timers[4]()
        await asyncio.gather(*again)

    run(steps)


def test_work_that_yields_continues_after_another_group_and_before_its_own() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1)

        async def work(name: str, pieces: int) -> None:
            async with taken.taken(name[0]) as turn:
                for piece in range(pieces):
                    order.append(f"{name}.{piece}")
                    await settle()
                    await turn.give_way()

        await asyncio.gather(work("a1", 4), work("a2", 1), work("b1", 2))
        # Turns rotate among groups: `b` has every other turn, and `a2` has none before `a1` ends.
        assert order == ["a1.0", "a1.1", "b1.0", "a1.2", "b1.1", "a1.3", "a2.0"]

    run(steps)


def test_a_group_limit_leaves_turns_to_other_groups() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=2, per_group=1)
        tasks = [start_asking(order, taken, name) for name in ("a1", "a2", "b1", "c1")]
        await settle()
        assert order == ["a1", "b1"]
        (await tasks[2]).end()
        await settle()
        assert order == ["a1", "b1", "c1"], "`a` already had a turn"
        (await tasks[0]).end()
        await settle()
        assert order == ["a1", "b1", "c1", "a2"]

    run(steps)


@pytest.mark.parametrize("is_granted", [False, True])
def test_work_that_is_cancelled_while_it_yields_leaks_no_turn(is_granted: bool) -> None:
    async def steps() -> None:
        taken = Turns(at_once=1)
        mine = await taken.take("a")
        other = asyncio.create_task(taken.take("b"))
        await settle()
        giving = asyncio.create_task(mine.give_way())
        if not is_granted:
            # `a` was first in the order, and `b` has its turn next.
            await settle()
            giving = asyncio.create_task(mine.give_way()) if giving.done() else giving
            await settle()
        giving.cancel()
        await settle()
        mine.end()
        (await other).end()
        (await taken.take("c")).end()
        assert taken._free == 1

    run(steps)


@pytest.mark.parametrize("is_granted", [False, True])
def test_a_cancelled_request_leaks_no_turn(is_granted: bool) -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1, longest_s=60)
        first = await taken.take("x")
        gone, next_one = start_asking(order, taken, "a1"), start_asking(order, taken, "b1")
        await settle()
        if is_granted:
            first.end()
        gone.cancel()
        await settle()
        first.end()
        await next_one
        assert order == ["b1"]

    run(steps)


def test_a_cancelled_request_does_not_cost_its_group_the_turn() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1, longest_s=60)
        first = await taken.take("x")
        gone, *tasks = [start_asking(order, taken, name) for name in ("a1", "a2", "b1")]
        await settle()
        gone.cancel()
        await settle()
        first.end()
        for task in tasks:
            (await task).end()
        assert order == ["a2", "b1"]

    run(steps)


def test_a_stranger_pauses_after_a_response_but_an_owner_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: dict[str, Any], receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["bears_key"]:
            scope["state"][HAS_VALID_KEY] = True
        await send({"type": "http.response.start"})

    async def steps() -> None:
        one_by_one = wrap_in_turns(app, Turns(at_once=1, longest_s=60), lambda _: "a")  # type: ignore[arg-type]
        rests = hold_timers(monkeypatch, protocol.STRANGERS_REST_S)

        async def send(_: object) -> None:
            pass

        async def ask(*, bears_key: bool) -> asyncio.Task[None]:
            scope = {"state": {}, "bears_key": bears_key}
            asked = asyncio.create_task(one_by_one(scope, None, send))  # type: ignore[arg-type]
            await settle()
            return asked

        assert (await ask(bears_key=True)).done()
        assert (await ask(bears_key=False)).done(), "its own response is not delayed"
        following = await ask(bears_key=True)
        assert not following.done(), "the next request is delayed"
        [end_rest] = rests
        end_rest()
        await following
        assert (await ask(bears_key=True)).done()

    run(steps)
