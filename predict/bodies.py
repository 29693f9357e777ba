"""Bodies of requests for predictions: received within a limit, and parted into files."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from api.http.body import MAX_DISCARD_S, MAX_DISCARDED_BYTES, discard_body, require_length
from heldout.errors import BodyTooLarge, InvalidForm, NoImages, PredictionsUnavailable, UnsupportedMediaType
from predict.images import ImageFile

FIELD = "images"
MAX_FILES = 1024
# Bodies of all requests of a process together.
MAX_HELD_BYTES = 512 * 1024**2


class HeldBodies:
    """How much of bodies a process has in memory."""

    def __init__(self, limit_bytes: int) -> None:
        """limit_bytes: of one body."""
        self.limit_bytes = limit_bytes
        self._held_bytes = 0

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, until the block ends.

        Raises:
            BodyTooLarge; PredictionsUnavailable: others take all the memory; InvalidForm: it ends too early.
        """
        await require_length(request, self.limit_bytes)
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                self._held_bytes += len(chunk)
                if len(body) > self.limit_bytes:
                    await discard_body(request, MAX_DISCARDED_BYTES - len(body), MAX_DISCARD_S)
                    raise BodyTooLarge(self.limit_bytes)
                if self._held_bytes > MAX_HELD_BYTES and len(body) < self._held_bytes:
                    raise PredictionsUnavailable("Other requests take all the memory that there is for images.")
            yield bytes(body)
        except ClientDisconnect:
            raise InvalidForm("The connection ended in the middle of the body.") from None
        finally:
            self._held_bytes -= len(body)


async def files_in(request: Request, body: bytes) -> list[ImageFile]:
    """The images' files: those of a form's fields `images`, or the body itself, whatever its media type says.

    Raises:
        NoImages, InvalidForm, UnsupportedMediaType.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/form-data"):
        files = await _files_in_form(request, body)
    elif kind.startswith("application/json"):
        raise UnsupportedMediaType(
            kind[:100],
            "an image file, an .npy, or a form with them; numbers in JSON go to POST /v2/models/{id}/infer",
        )
    else:
        files = [ImageFile(body)] if body else []
    if not files:
        raise NoImages
    return files


async def _files_in_form(request: Request, body: bytes) -> list[ImageFile]:
    async def once() -> AsyncGenerator[bytes]:
        yield body

    parser = MultiPartParser(request.headers, once(), max_files=MAX_FILES, max_fields=1)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidForm(f"The form cannot be read: {error.message}") from None
    files = []
    try:
        for name, value in form.multi_items():
            if name != FIELD or not isinstance(value, UploadFile):
                raise InvalidForm(
                    f"Received the field {name[:64]!r}; a form has files alone, each as a field `{FIELD}`: "
                    f"`curl -F {FIELD}=@a.png -F {FIELD}=@b.png`."
                )
            files.append(ImageFile(await value.read(), value.filename or None))
    finally:
        await form.close()
    return files
