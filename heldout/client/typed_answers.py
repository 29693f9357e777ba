"""Answers of the service as typed views: single ones, lists page after page, and streams."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from heldout import __version__
from heldout.client.connection import TIMEOUT_S, Connection
from heldout.client.failures import NoService, convert_error
from heldout.errors import HeldoutError
from heldout.views.base import View
from heldout.views.page import NumberedPage, Page

if TYPE_CHECKING:
    from heldout.views.job import JobView
    from heldout.views.study import StudyView

LONG_POLL_S = 60
PAGE = 200  # items of a list that are asked for at once

Answer = TypeVar("Answer", bound=View)
Seen = TypeVar("Seen", "JobView", "StudyView")


class TypedAnswers:
    """What a connection answers, as views.

    Raises:
        NoService: from every method, if nothing answers, or something that this version does not understand.
        ApiProblem: from every method, if the service answers with a problem.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, view: type[Answer], method: str, path: str, **options: Any) -> Answer:
        """The answer to a request, as this view; the options are those of `Connection.send`."""
        return self.parsed(view, (await self._connection.send(method, path, **options)).content)

    async def pages(
        self,
        view: type[Page[Answer]] | type[NumberedPage[Answer]],
        path: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        after: str | int | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Answer]:
        """The items of a list, page after page as they are needed."""
        limit = ("limit", str(page_size or PAGE))
        while True:
            start = [] if after is None else [("after", str(after))]
            page = await self.read(view, "GET", path, params=[*params, limit, *start])
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
        """A subject as soon as its version differs from `version`, or None if it is the same after `wait_s`.

        Without a version: the subject when it has ended, or as it is after `wait_s` (0–60).
        """
        headers = {} if version is None else {"If-None-Match": f'"{version}"'}
        response = await self._connection.send(
            "GET", path, params={"wait": wait_s}, headers=headers, timeout_s=wait_s + TIMEOUT_S
        )
        return None if response.status_code == 304 else self.parsed(view, response.content)

    async def each_change(self, view: type[Seen], path: str, wait_s: int) -> AsyncIterator[Seen]:
        """A subject now and after each change, until it has ended."""
        seen = await self.read(view, "GET", path)
        yield seen
        while not seen.has_ended:
            changed = await self.once_changed(view, path, seen.version, wait_s)
            if changed is not None:
                seen = changed
                yield seen

    def parsed(self, view: type[Answer], content: bytes) -> Answer:
        """What was answered. Fields that this version does not know are kept: the service may be newer."""
        try:
            return view.model_validate_json(content, extra="allow")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"]:
                raise NoService(f"What answers at {self._connection.url} is not a Heldout service.") from None
            where = ".".join(map(str, first["loc"]))
            raise NoService(
                f"What answers at {self._connection.url} is not a service that heldout {__version__} understands "
                f"({where}: {first['msg']}). Use the client of the service's own release."
            ) from None


def make_idempotency_header(key: str | None) -> dict[str, str]:
    """The header of a request that makes something at most once. A key is drawn where none is given.

    Raises:
        ValueError: if the key is not 1 to 255 printable ASCII characters.
    """
    key = uuid.uuid4().hex if key is None else key
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
        raise ValueError(f"Received the idempotency key {key[:40]!r}; expected 1 to 255 printable ASCII characters.")
    return {"Idempotency-Key": key}


def quote_segment(text: str, missing: HeldoutError) -> str:
    """One segment of a path. What a user types as an id may name another route: then it is no id of anything."""
    if "/" in text or not text.strip("."):
        raise convert_error(missing)
    return quote(text, safe="")
