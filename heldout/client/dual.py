"""Methods that are written once, as coroutines, for both the blocking and the async client.

A blocking client's coroutines never suspend, so one step runs them to the end. An async client returns the coroutine,
and the caller awaits it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

P = ParamSpec("P")
Owner = TypeVar("Owner")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Blocking:
    """The mode of clients whose methods return results: `client.jobs.get(…)`, `for … in client.jobs.list()`."""


class Awaiting:
    """The mode of clients with methods to await: `await client.jobs.get(…)`, `async for … in client.jobs.list()`."""


if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Mode = TypeVarWithDefault("Mode", default=Blocking)  # `Job` is short for `Job[Blocking]`
else:
    Mode = TypeVar("Mode")


class Dual(Generic[Mode]):
    """Base of clients, and of their resources and handles, which are in the mode of their client."""

    is_blocking: bool


class _Method(Generic[Owner, P, Answer]):
    """A method in the mode of its object. Others like it call it on its class: `await Jobs.get(jobs, job_id)`."""

    def __init__(self, function: Callable[Concatenate[Owner, P], Answer]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, owner: Owner, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._function(owner, *args, **kwargs)

    def _bind(self, instance: Any, finish: Callable[[Any], Any]) -> Any:
        """Return the method of an object. finish: makes the result on a blocking client."""
        if instance is None:
            return self
        function = self._function

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            answer = function(instance, *args, **kwargs)
            return finish(answer) if instance.is_blocking else answer

        return update_wrapper(call, function)


class dual(_Method[Owner, P, Coroutine[Any, Any, Answer]]):  # noqa: N801  (a decorator)
    """A method written as a coroutine."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Dual[Blocking], owner: type) -> Callable[P, Answer]: ...
    @overload
    def __get__(self, instance: Dual[Awaiting], owner: type) -> Callable[P, Coroutine[Any, Any, Answer]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self._bind(instance, run)


OneBlocking = TypeVar("OneBlocking", bound=Dual[Blocking])
OneAwaiting = TypeVar("OneAwaiting", bound=Dual[Awaiting])


class dual_self(dual[Any, P, Any]):  # noqa: N801  (a decorator)
    """A `dual` that returns its own object, or a new object of the same class."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: OneBlocking, owner: type) -> Callable[P, OneBlocking]: ...
    @overload
    def __get__(self, instance: OneAwaiting, owner: type) -> Callable[P, Coroutine[Any, Any, OneAwaiting]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return super().__get__(instance, owner)


class dual_iterator(_Method[Owner, P, AsyncIterator[Item]]):  # noqa: N801  (a decorator)
    """A method written as an asynchronous generator; a plain iterator on a blocking client."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Dual[Blocking], owner: type) -> Callable[P, Generator[Item]]: ...
    @overload
    def __get__(self, instance: Dual[Awaiting], owner: type) -> Callable[P, AsyncGenerator[Item]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self._bind(instance, iterate)


def run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("A coroutine of a blocking client tried to wait for an event loop.")


def iterate(items: Any) -> Iterator[Any]:
    """Yield the items of an asynchronous generator that never suspends, as they are asked for."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
