"""Bodies of requests for predictions: received within a limit, and parted into files."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from time import perf_counter

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api.http.body import MAX_DISCARD_S, MAX_DISCARDED_BYTES, discard_body, require_length
from api.turns import Turns
from heldout.errors import (
    BodyTooLarge,
    InvalidForm,
    NoImages,
    PredictionsUnavailable,
    RequestTimeout,
    UnsupportedMediaType,
)
from predict.images import SentFile

FIELD = "images"
MAX_FILES = 1024
MAX_RECEIVE_S = 60.0
# A body is there as it came, and copied as what is in it; the parser of forms has two more copies.
COPIES, COPIES_OF_FORM = 2, 4
# One owner's bodies may take this part of the memory for all.
OWNER_SHARE = 0.25
# A form is read in pieces, so that other requests have their turn, and for so long altogether.
PIECE_BYTES = 32 * 1024
MAX_FORM_S = 2.0


class HeldBodies:
    """How much of bodies a process has in memory."""

    def __init__(self, limit_bytes: int, memory_bytes: int) -> None:
        """limit_bytes: of one body. memory_bytes: of all requests of the process together, with their copies."""
        self.limit_bytes = limit_bytes
        self.memory_bytes = memory_bytes
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def received(self, request: Request, owner: str) -> AsyncIterator[bytes]:
        """The whole body, until the block ends.

        Raises:
            BodyTooLarge; PredictionsUnavailable: others take all the memory, or the owner more than its share of it;
            ClientDisconnect, RequestTimeout.
        """
        await require_length(request, self.limit_bytes)
        copies = COPIES_OF_FORM if _is_form(request) else COPIES
        body = bytearray()
        held = 0
        try:
            try:
                async with asyncio.timeout(MAX_RECEIVE_S):
                    async for chunk in request.stream():
                        body += chunk
                        if len(body) > self.limit_bytes:
                            await discard_body(request, MAX_DISCARDED_BYTES - len(body), MAX_DISCARD_S)
                            raise BodyTooLarge(self.limit_bytes)
                        held += copies * len(chunk)
                        self._held[owner] += copies * len(chunk)
                        self._require_room(owner, held)
            except TimeoutError:
                raise RequestTimeout(f"The body was not whole after {MAX_RECEIVE_S:g} s. Send fewer images.") from None
            content = bytes(body)
            body.clear()
            yield content
        finally:
            self._held[owner] -= held
            if not self._held[owner]:
                del self._held[owner]

    def _require_room(self, owner: str, held: int) -> None:
        """Raises PredictionsUnavailable. One body alone always has room."""
        if self._held[owner] > max(held, OWNER_SHARE * self.memory_bytes):
            raise PredictionsUnavailable("Your other requests take all the memory that you may have for images.")
        if self._held.total() > max(held, self.memory_bytes):
            raise PredictionsUnavailable("Other requests take all the memory that there is for images.")


async def read_files(request: Request, body: bytes, turns: Turns, owner: str) -> list[SentFile]:
    """The images' files: those of a form's fields `images`, or the body itself, whatever its media type says.

    Args: turns in which pieces of forms are read.
    Raises:
        NoImages, InvalidForm, UnsupportedMediaType.
    """
    kind = request.headers.get("content-type", "").lower()
    if _is_form(request):
        files = await _read_form_files(request, body, turns, owner)
    elif kind.startswith("application/json"):
        raise UnsupportedMediaType(
            kind[:100],
            "an image file, an .npy, or a form with them; numbers in JSON go to POST /v2/models/{id}/infer",
        )
    else:
        files = [SentFile(body)] if body else []
    if not files:
        raise NoImages
    return files


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _read_form_files(request: Request, body: bytes, turns: Turns, owner: str) -> list[SentFile]:
    try:
        async with aclosing(_iterate_pieces(body, turns, owner)) as pieces:
            parser = MultiPartParser(request.headers, pieces, max_files=MAX_FILES, max_fields=1)
            parser.spool_max_size = len(body) + 1  # in memory, where the body is too
            form = await parser.parse()
    except MultiPartException:
        raise InvalidForm(
            f"The form cannot be read. Expected multipart/form-data with 1 to {MAX_FILES:,} files, each as a field "
            f"`{FIELD}`: `curl -F {FIELD}=@a.png`."
        ) from None
    except (ValueError, LookupError):  # the charset that it names decodes no names
        raise InvalidForm("The form cannot be read: its names are not in the charset that it says.") from None
    files = []
    try:
        for name, value in form.multi_items():
            if name != FIELD or not isinstance(value, UploadFile):
                raise InvalidForm(
                    f"Received the field {name[:64]!r}; a form has files alone, each as a field `{FIELD}`: "
                    f"`curl -F {FIELD}=@a.png -F {FIELD}=@b.png`."
                )
            # Some charsets decode to what UTF-8 cannot say.
            file_name = (value.filename or "").encode("utf-8", "replace").decode()
            files.append(SentFile(await value.read(), file_name or None))
    finally:
        await form.close()
    return files


async def _iterate_pieces(body: bytes, turns: Turns, owner: str) -> AsyncGenerator[bytes]:
    """Raises InvalidForm if the parser takes much longer than a form of files needs."""
    spent_s = 0.0
    async with turns.taken(owner) as turn:
        for first in range(0, len(body), PIECE_BYTES):
            began = perf_counter()
            yield body[first : first + PIECE_BYTES]
            spent_s += perf_counter() - began
            if spent_s > MAX_FORM_S:
                raise InvalidForm(
                    f"The form takes more than {MAX_FORM_S:g} s to read: there is too much between its files."
                )
            await asyncio.sleep(0)
            await turn.give_way()
