"""Methods that are written once, as coroutines, and that a blocking client and an async client both have.

A blocking client's coroutines never wait for anything but their own calls, so one step runs them to their end. An
async client hands them out, to be awaited.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

P = ParamSpec("P")
Owner = TypeVar("Owner")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Blocking:
    """Base of what calls directly: `client.get(…)`, `for … in client.jobs()`."""


class Awaiting:
    """Base of what is awaited: `await client.get(…)`, `async for … in client.jobs()`."""


class dual(Generic[Owner, P, Answer]):  # noqa: N801  (a decorator)
    """A method that is a coroutine. Other such methods call it by its class: `await Methods.get(self, job_id)`."""

    def __init__(self, function: Callable[Concatenate[Owner, P], Coroutine[Any, Any, Answer]]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, owner: Owner, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Answer]:
        return self._function(owner, *args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, Answer]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, Answer]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        function = self._function

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            coroutine = function(instance, *args, **kwargs)
            return run(coroutine) if isinstance(instance, Blocking) else coroutine

        return update_wrapper(call, function)


class dual_iterator(Generic[Owner, P, Item]):  # noqa: N801  (a decorator)
    """A method that is an asynchronous generator, and a plain iterator on a blocking client."""

    def __init__(self, function: Callable[Concatenate[Owner, P], AsyncIterator[Item]]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, owner: Owner, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return self._function(owner, *args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, Generator[Item]]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type) -> Callable[P, AsyncGenerator[Item]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        function = self._function

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            items = function(instance, *args, **kwargs)
            return iterate(items) if isinstance(instance, Blocking) else items

        return update_wrapper(call, function)


def run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("A blocking client's coroutine has waited for an event loop.")


def iterate(items: Any) -> Iterator[Any]:
    """The items of an asynchronous generator that never waits, as they are asked for."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
