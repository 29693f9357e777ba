"""The parts of a client: resources such as `client.jobs`, and handles such as the job that `jobs.get` returns.

A resource has a method for each route. A handle has the same methods without the id.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from heldout import __version__
from heldout.client.dual import Dual, Mode, dual, dual_iterator, dual_self
from heldout.client.failures import NoService, make_problem

if TYPE_CHECKING:
    from heldout.client.connection import Connection
    from heldout.errors import HeldoutError
    from heldout.views.base import NumberedPage, Page, View
    from heldout.views.job import JobView
    from heldout.views.study import StudyView

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
OneHandle = TypeVar("OneHandle")
Seen = TypeVar("Seen", bound="View")
Received = TypeVar("Received", bound="View")
Changing = TypeVar("Changing", "JobView", "StudyView")

LONG_POLL_S = 60
PAGE = 200  # items of a list in one request
# Large files of predictions take several seconds, and the service reads them one at a time.
PREDICTIONS_TIMEOUT_S = 300.0


class ResourceBase(Dual[Mode]):
    """Methods that share one client, and read views from its connection.

    Args:
        name: the attribute of the client, such as `jobs`.
    Raises:
        NoService: from every method, if nothing answers, or if the answer is not one that this version understands.
        ApiProblem: from every method, if the service answers with a problem.
    """

    _route: str
    _missing: type[HeldoutError]

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self.is_blocking = client.is_blocking
        self._connection: Connection = client._connection

    def __repr__(self) -> str:
        return f"{self._client!r}.{self._name}"

    def _path(self, id_: str, part: str = "") -> str:
        """The path of one thing, or of a part of it."""
        path = f"{self._route}/{quote_segment(id_, self._missing(id_))}"
        return f"{path}/{part}" if part else path

    async def _get(self, view: type[Received], id_: str, part: str = "", **options: Any) -> Received:
        """Get one thing, or a part of it; the options are those of `Connection.send`."""
        return await self._read(view, "GET", self._path(id_, part), **options)

    async def _read(self, view: type[Received], method: str, path: str, **options: Any) -> Received:
        """Send a request and read the answer as this view; the options are those of `Connection.send`."""
        return self._parse(view, (await self._connection.send(method, path, **options)).content)

    async def _pages(
        self,
        view: type[Page[Received]] | type[NumberedPage[Received]],
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        after: str | int | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[Received]:
        """Yield the items of a list; pages are fetched as they are needed."""
        while True:
            page = await self._read(view, "GET", path, params={**(params or {}), "limit": page_size, "after": after})
            for item in page.data:
                yield item
            if page.next is None:
                return
            after = page.next

    async def _follow(self, view: type[Received], path: str, after: int | None) -> AsyncIterator[Received]:
        async with aclosing(self._connection.follow(path, after=after)) as stream:
            async for data in stream:
                yield self._parse(view, data)

    async def _once_changed(self, view: type[Changing], path: str, version: int | None, wait_s: int) -> Changing | None:
        """Wait until the version of a subject differs from `version`; None if it does not within `wait_s`.

        Without a version: wait until the subject has ended, at most `wait_s` (0–60).
        """
        headers = {} if version is None else {"If-None-Match": f'"{version}"'}
        response = await self._connection.send("GET", path, params={"wait": wait_s}, headers=headers)
        return None if response.status_code == 304 else self._parse(view, response.content)

    async def _each_change(self, view: type[Changing], path: str, wait_s: int) -> AsyncIterator[Changing]:
        """Yield a subject now and after each change, until it has ended."""
        seen = await self._read(view, "GET", path)
        yield seen
        while not seen.has_ended:
            changed = await self._once_changed(view, path, seen.version, wait_s)
            if changed is not None:
                seen = changed
                yield seen

    def _parse(self, view: type[Received], content: bytes | str) -> Received:
        """Parse an answer. Fields that this version does not know are kept, because the service may be newer."""
        try:
            return view.model_validate_json(content, extra="allow")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"]:
                raise NoService(f"The server at {self._connection.url} is not a Heldout service.") from None
            where = ".".join(map(str, first["loc"]))
            raise NoService(
                f"The service at {self._connection.url} gave an answer that heldout {__version__} does not understand "
                f"({where}: {first['msg']}). Install the client of the service's own release from "
                f"{self._connection.url}/client/."
            ) from None


class Resource(ResourceBase[Mode], Generic[OneHandle, Mode]):
    """Things of one kind that the service stores, each returned as a handle."""

    _handle: Callable[..., OneHandle]

    def _wrap(self, view: View) -> OneHandle:
        return self._handle(self, view)

    async def _receive(self, view: type[View], method: str, path: str, **options: Any) -> OneHandle:
        """Send a request and return the handle of what is answered."""
        return self._wrap(await self._read(view, method, path, **options))

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


def make_idempotency_header(key: str | None) -> dict[str, str]:
    """Make the header of a request that creates something at most once. Without a key, a random one is used.

    Raises:
        ValueError: if the key is not 1 to 255 printable ASCII characters.
    """
    key = uuid.uuid4().hex if key is None else key
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
        raise ValueError(f"Received the idempotency key {key[:40]!r}; expected 1 to 255 printable ASCII characters.")
    return {"Idempotency-Key": key}


def leave_out_none(**fields: Any) -> dict[str, Any]:
    """Make the body of a request whose absent fields mean: keep the value, or use the default."""
    return {name: value for name, value in fields.items() if value is not None}


def quote_segment(text: str, missing: HeldoutError) -> str:
    """Quote one segment of a path. Raises the problem `missing` if the text would name another route."""
    if "/" in text or not text.strip("."):
        raise make_problem(missing.code, missing.status, missing.title, missing.detail, missing.errors)
    return quote(text, safe="")
