"""The parts of a client: resources such as `client.jobs`, and handles such as the job that `jobs.get` returns.

A resource has a method for each route. A handle has the same methods without the id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from heldout.client.deprecated import call_flat, deprecated
from heldout.client.dual import Dual, Mode, dual, dual_iterator, dual_self
from heldout.client.typed_answers import make_idempotency_header, quote_segment

if TYPE_CHECKING:
    from heldout.client.connection import Connection
    from heldout.client.typed_answers import TypedAnswers
    from heldout.errors import HeldoutError
    from heldout.views.base import View

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
OneHandle = TypeVar("OneHandle")
Seen = TypeVar("Seen", bound="View")
Given = TypeVar("Given", bound="View")


class ResourceBase(Dual[Mode]):
    """Methods that share one client.

    Args:
        name: the attribute of the client, such as `jobs`.
    """

    _route: str
    _missing: type[HeldoutError]

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self.is_blocking = client.is_blocking
        self._connection: Connection = client._connection
        self._answers: TypedAnswers = client._answers

    def __repr__(self) -> str:
        return f"{self._client!r}.{self._name}"

    def _path(self, id_: str, part: str = "") -> str:
        """The path of one thing, or of a part of it."""
        path = f"{self._route}/{quote_segment(id_, self._missing(id_))}"
        return f"{path}/{part}" if part else path

    async def _get(self, view: type[Given], id_: str, part: str = "", **options: Any) -> Given:
        """Get one thing, or a part of it; the options are those of `Connection.send`."""
        return await self._answers.read(view, "GET", self._path(id_, part), **options)

    @deprecated("use its method list; client.events(job) is client.jobs.events(job)")
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The deprecated `client.jobs()` and the like."""
        return call_flat(self._client, self._name, *args, **kwargs)


class Resource(ResourceBase[Mode], Generic[OneHandle, Mode]):
    """Things of one kind that the service stores, each returned as a handle."""

    _handle: Callable[..., OneHandle]

    def _wrap(self, view: View) -> OneHandle:
        return self._handle(self, view)

    async def _receive(self, view: type[View], method: str, path: str, **options: Any) -> OneHandle:
        """Send a request and return the handle of what is answered."""
        return self._wrap(await self._answers.read(view, method, path, **options))

    async def _create(self, view: type[View], path: str, body: Any, key: str | None = None) -> OneHandle:
        """Have something created at most once, whatever fails; without a key, the client generates one."""
        headers = make_idempotency_header(key)
        return await self._receive(view, "POST", path, body=body, headers=headers, repeatable=True)

    async def _wrap_each(self, views: AsyncIterator[Any]) -> AsyncIterator[OneHandle]:
        async for view in views:
            yield self._wrap(view)


class Handle(Dual[Mode], Generic[Seen, Mode]):
    """One stored thing. `view` is what was last received; every field of it is an attribute of the handle too.

    Args:
        of: the resource whose methods return such handles.
    """

    def __init_subclass__(cls, of: type[Resource[Any, Any]] | None = None) -> None:
        super().__init_subclass__()
        if of is not None:
            of._handle = cls

    def __init__(self, resource: ResourceBase[Mode], view: Seen) -> None:
        self._resource: Any = resource
        self._client: Any = resource._client
        self.is_blocking = resource.is_blocking
        self.view: Seen = view

    @property
    def id(self) -> str:
        return self.view.id  # type: ignore[attr-defined,no-any-return]  # every view of a handle has one

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "view":  # not set yet, while it is copied
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return getattr(self.view, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.view == other.view

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        details = [str(getattr(self.view, name, "")) for name in ("id", "name", "status")]
        return f"<{type(self).__name__} {' '.join(filter(None, details))}>"


class NamedHandle(Handle[Seen, Mode]):
    """A stored thing with a name and a status."""

    @property
    def name(self) -> str:
        return self.view.name  # type: ignore[attr-defined,no-any-return]

    @property
    def status(self) -> str:
        """The status when it was last received."""
        return self.view.status  # type: ignore[attr-defined,no-any-return]


def by_id(method: dual[Any, Concatenate[str, P], Answer]) -> dual[Any, P, Answer]:
    """A resource's method as a method of its handle, which passes its own id."""

    async def call(handle: Handle[Any, Any], /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await method(handle._resource, handle.id, *args, **kwargs)

    return dual(update_wrapper(call, method, updated=()))  # not its `_function`


def each_by_id(method: dual_iterator[Any, Concatenate[str, P], Item]) -> dual_iterator[Any, P, Item]:
    """As `by_id`, for a method that iterates."""

    def call(handle: Handle[Any, Any], /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return method(handle._resource, handle.id, *args, **kwargs)

    return dual_iterator(update_wrapper(call, method, updated=()))


def renew(method: dual[Any, Concatenate[str, P], Any]) -> dual_self[P]:
    """As `by_id`, for a method that returns a handle: the same thing again updates the handle, a new thing does not."""

    async def call(handle: Handle[Any, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        found = await method(handle._resource, handle.id, *args, **kwargs)
        if found.id != handle.id:
            return found
        handle.view = found.view
        return handle

    return dual_self(update_wrapper(call, method, updated=()))
