"""Whose request is handled next when many arrive at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from api.connections import protocol
from api.connections.protocol import wrap_in_turns
from api.http.request_id import HAS_VALID_KEY
from api.turns import Turn, Turns


def run(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(steps(), 20))


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def asking(order: list[str], taken: Turns, name: str) -> asyncio.Task[Turn]:
    async def ask() -> Turn:
        turn = await taken.take(name[0])
        order.append(name)
        return turn

    return asyncio.create_task(ask())


def test_a_client_with_one_request_goes_before_the_second_one_of_a_client_with_many() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1, longest_s=60)
        first = await taken.take("x")
        tasks = [asking(order, taken, name) for name in ("a1", "a2", "a3", "b1", "c1", "c2")]
        await settled()
        assert order == []
        first.end()
        while len(order) < 6:
            await settled()
            (await tasks[["a1", "a2", "a3", "b1", "c1", "c2"].index(order[-1])]).end()
        assert order == ["a1", "b1", "c1", "a2", "c2", "a3"]

    run(steps)


def test_so_many_go_at_once_and_what_takes_long_holds_no_one_up() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=2, longest_s=0.05)
        tasks = [asking(order, taken, f"a{number}") for number in range(4)]
        await settled()
        assert order == ["a0", "a1"]
        for task in tasks:
            await task
        assert order == ["a0", "a1", "a2", "a3"]
        await asyncio.sleep(0.2)  # all turns have ended by themselves
        for task in tasks:
            (await task).end()
        again = [asking(order, taken, f"b{number}") for number in range(3)]
        await settled()
        assert order[4:] == ["b0", "b1"], "none has been given back twice"
        await asyncio.gather(*again)

    run(steps)


def test_work_that_gives_way_continues_after_another_group_and_before_its_own() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1)

        async def work(name: str, pieces: int) -> None:
            async with taken.taken(name[0]) as turn:
                for piece in range(pieces):
                    order.append(f"{name}.{piece}")
                    await settled()
                    await turn.give_way()

        await asyncio.gather(work("a1", 4), work("a2", 1), work("b1", 2))
        # The turn goes round by groups: `b` has it every other time, and `a2` none before the end of `a1`.
        assert order == ["a1.0", "a1.1", "b1.0", "a1.2", "b1.1", "a1.3", "a2.0"]

    run(steps)


def test_a_group_that_may_not_have_all_turns_leaves_one_to_others() -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=2, per_group=1)
        tasks = [asking(order, taken, name) for name in ("a1", "a2", "b1", "c1")]
        await settled()
        assert order == ["a1", "b1"]
        (await tasks[2]).end()
        await settled()
        assert order == ["a1", "b1", "c1"], "it was not the turn of `a`, which had one"
        (await tasks[0]).end()
        await settled()
        assert order == ["a1", "b1", "c1", "a2"]

    run(steps)


@pytest.mark.parametrize("is_granted", [False, True])
def test_work_that_ends_while_it_gives_way_takes_no_turn_along(is_granted: bool) -> None:
    async def steps() -> None:
        taken = Turns(at_once=1)
        mine = await taken.take("a")
        other = asyncio.create_task(taken.take("b"))
        await settled()
        giving = asyncio.create_task(mine.give_way())
        if not is_granted:
            # `a` was first in the order, and `b` has its turn next.
            await settled()
            giving = asyncio.create_task(mine.give_way()) if giving.done() else giving
            await settled()
        giving.cancel()
        await settled()
        mine.end()
        (await other).end()
        (await taken.take("c")).end()
        assert taken._free == 1

    run(steps)


@pytest.mark.parametrize("is_granted", [False, True])
def test_a_request_that_is_gone_takes_no_turn_along(is_granted: bool) -> None:
    async def steps() -> None:
        order: list[str] = []
        taken = Turns(at_once=1, longest_s=60)
        first = await taken.take("x")
        gone, next_one = asking(order, taken, "a1"), asking(order, taken, "b1")
        await settled()
        if is_granted:
            first.end()
        gone.cancel()
        await settled()
        first.end()
        await next_one
        assert order == ["b1"]

    run(steps)


def test_a_stranger_rests_after_an_answer_and_an_owner_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STRANGERS_REST_S", 0.5)

    async def app(scope: dict[str, Any], receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["bears_key"]:
            scope["state"][HAS_VALID_KEY] = True
        await send({"type": "http.response.start"})

    async def steps() -> None:
        one_by_one = wrap_in_turns(app, Turns(at_once=1, longest_s=60), "a")  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()

        async def asked(*, bears_key: bool) -> float:
            async def send(_: object) -> None:
                pass

            began = loop.time()
            await one_by_one({"state": {}, "bears_key": bears_key}, None, send)  # type: ignore[arg-type]
            return loop.time() - began

        assert await asked(bears_key=True) < 0.4
        assert await asked(bears_key=False) < 0.4, "its own answer does not wait"
        assert await asked(bears_key=True) > 0.4, "the next request does"
        assert await asked(bears_key=True) < 0.4

    run(steps)
