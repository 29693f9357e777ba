"""Receives the bodies of requests for predictions, within a limit, and splits them into files."""

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
from heldout import errors
from predict.images import SentFile

FIELD = "images"
MAX_FILES = 1024
MAX_RECEIVE_S = 60.0
# How many copies of a body are in memory: the body, its content, and two more while a form is parsed.
COPIES, COPIES_OF_FORM = 2, 4
# One owner's bodies may take this share of the memory for bodies.
OWNER_SHARE = 0.25
# A form is read in pieces of this size, so that other requests get their turn, and for at most this time in total.
PIECE_BYTES = 32 * 1024
MAX_FORM_S = 2.0


class HeldBodies:
    """Counts and limits the bodies that a process has in memory."""

    def __init__(self, limit_bytes: int, memory_bytes: int) -> None:
        """limit_bytes: for one body. memory_bytes: for all requests of the process together, including copies."""
        self.limit_bytes = limit_bytes
        self.memory_bytes = memory_bytes
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def received(self, request: Request, owner: str) -> AsyncIterator[bytes]:
        """Receive the whole body, and count it until the block ends.

        Raises:
            BodyTooLarge, ClientDisconnect, RequestTimeout.
            PredictionsUnavailable: the memory is full, or the owner uses its whole share.
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
                            raise errors.BodyTooLarge(self.limit_bytes)
                        held += copies * len(chunk)
                        self._held[owner] += copies * len(chunk)
                        self._require_room(owner, held)
            except TimeoutError:
                raise errors.RequestTimeout(
                    f"The body was not complete after {MAX_RECEIVE_S:g} s. Send fewer images."
                ) from None
            content = bytes(body)
            body.clear()
            yield content
        finally:
            self._held[owner] -= held
            if not self._held[owner]:
                del self._held[owner]

    def _require_room(self, owner: str, held: int) -> None:
        """Raise PredictionsUnavailable if there is no room. A single body always has room."""
        if self._held[owner] > max(held, OWNER_SHARE * self.memory_bytes):
            raise errors.PredictionsUnavailable("Your other requests use all the memory that you may have for images.")
        if self._held.total() > max(held, self.memory_bytes):
            raise errors.PredictionsUnavailable("Other requests use all the memory for images.")


async def read_files(request: Request, body: bytes, turns: Turns, owner: str) -> list[SentFile]:
    """Return the images' files: those in a form's fields `images`, or else the body itself, whatever its media type.

    Args:
        turns: the turns in which pieces of forms are read.
    Raises:
        NoImages, InvalidForm, UnsupportedMediaType.
    """
    kind = request.headers.get("content-type", "").lower()
    if _is_form(request):
        files = await _read_form_files(request, body, turns, owner)
    elif kind.startswith("application/json"):
        raise errors.UnsupportedMediaType(
            kind[:100],
            "an image file, an .npy, or a form with these; send numbers in JSON to POST /v2/models/{id}/infer",
        )
    else:
        files = [SentFile(body)] if body else []
    if not files:
        raise errors.NoImages
    return files


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _read_form_files(request: Request, body: bytes, turns: Turns, owner: str) -> list[SentFile]:
    try:
        async with aclosing(_iterate_pieces(body, turns, owner)) as pieces:
            parser = MultiPartParser(request.headers, pieces, max_files=MAX_FILES, max_fields=1)
            parser.spool_max_size = len(body) + 1  # keeps files in memory, where the body is too
            form = await parser.parse()
    except MultiPartException:
        raise errors.InvalidForm(
            f"The form cannot be read. Expected multipart/form-data with 1 to {MAX_FILES:,} files, each as a field "
            f"`{FIELD}`, as in `curl -F {FIELD}=@a.png`."
        ) from None
    except (ValueError, LookupError):  # the names cannot be decoded with the form's charset
        raise errors.InvalidForm(
            "The form cannot be read: its names are not in the charset that it declares."
        ) from None
    files = []
    try:
        for name, value in form.multi_items():
            if name != FIELD or not isinstance(value, UploadFile):
                raise errors.InvalidForm(
                    f"Received the field {name[:64]!r}. A form may have only files, each as a field `{FIELD}`, as in "
                    f"`curl -F {FIELD}=@a.png -F {FIELD}=@b.png`."
                )
            # Some charsets decode to characters that UTF-8 cannot encode.
            file_name = (value.filename or "").encode("utf-8", "replace").decode()
            files.append(SentFile(await value.read(), file_name or None))
    finally:
        await form.close()
    return files


async def _iterate_pieces(body: bytes, turns: Turns, owner: str) -> AsyncGenerator[bytes]:
    """Pass the body on in pieces. Raises InvalidForm if the parser takes much longer than a form of files needs."""
    spent_s = 0.0
    async with turns.taken(owner) as turn:
        for first in range(0, len(body), PIECE_BYTES):
            began = perf_counter()
            yield body[first : first + PIECE_BYTES]
            spent_s += perf_counter() - began
            if spent_s > MAX_FORM_S:
                raise errors.InvalidForm(
                    f"Reading the form takes more than {MAX_FORM_S:g} s: there is too much data between its files."
                )
            await asyncio.sleep(0)
            await turn.give_way()
