"""Turns answers of the service into typed views: single ones, paged lists, and streams."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from heldout import __version__
from heldout.client.connection import Connection
from heldout.client.failures import NoService, convert_error
from heldout.errors import HeldoutError
from heldout.views.base import NumberedPage, Page, View

if TYPE_CHECKING:
    from heldout.views.job import JobView
    from heldout.views.study import StudyView

LONG_POLL_S = 60
PAGE = 200  # items of a list in one request
# Large files of predictions take several seconds, and the service reads them one at a time.
PREDICTIONS_TIMEOUT_S = 300.0

Answer = TypeVar("Answer", bound=View)
Seen = TypeVar("Seen", "JobView", "StudyView")


class TypedAnswers:
    """Reads views from a connection.

    Raises:
        NoService: from every method, if nothing answers, or if the answer is not one that this version understands.
        ApiProblem: from every method, if the service answers with a problem.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, view: type[Answer], method: str, path: str, **options: Any) -> Answer:
        """Send a request and read the answer as this view; the options are those of `Connection.send`."""
        return self.parsed(view, (await self._connection.send(method, path, **options)).content)

    async def pages(
        self,
        view: type[Page[Answer]] | type[NumberedPage[Answer]],
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        after: str | int | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[Answer]:
        """Yield the items of a list; pages are fetched as they are needed."""
        while True:
            page = await self.read(view, "GET", path, params={**(params or {}), "limit": page_size, "after": after})
            for item in page.data:
                yield item
            if page.next is None:
                return
            after = page.next

    async def follow(self, view: type[Answer], path: str, after: int | None) -> AsyncIterator[Answer]:
        async with aclosing(self._connection.follow(path, after=after)) as stream:
            async for data in stream:
                yield self.parsed(view, data)

    async def once_changed(self, view: type[Seen], path: str, version: int | None, wait_s: int) -> Seen | None:
        """Wait until the version of a subject differs from `version`; None if it does not within `wait_s`.

        Without a version: wait until the subject has ended, at most `wait_s` (0–60).
        """
        headers = {} if version is None else {"If-None-Match": f'"{version}"'}
        response = await self._connection.send("GET", path, params={"wait": wait_s}, headers=headers)
        return None if response.status_code == 304 else self.parsed(view, response.content)

    async def each_change(self, view: type[Seen], path: str, wait_s: int) -> AsyncIterator[Seen]:
        """Yield a subject now and after each change, until it has ended."""
        seen = await self.read(view, "GET", path)
        yield seen
        while not seen.has_ended:
            changed = await self.once_changed(view, path, seen.version, wait_s)
            if changed is not None:
                seen = changed
                yield seen

    def parsed(self, view: type[Answer], content: bytes) -> Answer:
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
        raise convert_error(missing)
    return quote(text, safe="")
