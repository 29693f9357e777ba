"""Streams uploads to the blob store. They are bounded and hashed on the way, and never whole in memory."""

import asyncio
import base64
import hashlib
import os
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import MappingProxyType
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from api.http.body import MAX_DISCARD_S, MAX_DISCARDED_BYTES, deliver_refusal, discard_body, require_length
from api.http.places import PATIENCE_S, UploadPlaces, pace_stream
from api.turns import SharedPlaces
from heldout.access.rights import Quota
from heldout.errors import (
    BodyTooLarge,
    DigestMismatch,
    InvalidForm,
    InvalidParameter,
    QuotaExceeded,
    StorageUnavailable,
    TooManyUploads,
)
from heldout.service.settings import Settings
from heldout.spec.dataset import DatasetSpec
from models.blobs import Blobs

# Uploads have their own threads, because slow uploads must not occupy the threads that answer requests.
UPLOADS_AT_ONCE = 100
# Forms are small, and each is kept on disk while it arrives.
FORMS_AT_ONCE = 8
FORMS_AT_ONCE_PER_OWNER = 2
MAX_FORM_S = 600.0
# Results of trainings that ran elsewhere are smaller still, and many runners may end at once.
RESULTS_AT_ONCE = 16
READ_BYTES = 1024 * 1024
# A form is first kept on disk. Larger content needs `PUT …/content`.
FORM_BYTES = 64 * 1024 * 1024
# A form has a file, and at most these texts: the fields of a dataset.
FIELDS = tuple(DatasetSpec.model_fields)
# The Content-Digest header of RFC 9530. Algorithms other than sha-256 are ignored.
DIGEST = r"^(.*, *)?sha-256=:([A-Za-z0-9+/]{43}=):( *,.*)?$"
Check = Callable[[Iterator[bytes]], Iterator[bytes]]


def describe_body(
    required: Sequence[str],
    fields: Mapping[str, Any],
    others: Mapping[str, Any] = MappingProxyType({}),
    *,
    json_fields: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe the body of a route that reads it itself, for `openapi_extra`: a form with these fields.

    Args:
        required: the names of the fields that a form must have.
        others: the schemas of other media types that the route also reads.
        json_fields: the names of fields whose text is JSON.
    """
    form = {"type": "object", "required": list(required), "additionalProperties": False, "properties": dict(fields)}
    encoding = {field: {"contentType": "application/json"} for field in json_fields}
    content = {kind: {"schema": schema} for kind, schema in others.items()}
    content["multipart/form-data"] = {"schema": form, **({"encoding": encoding} if encoding else {})}
    # Without a parameter that may be absent, openapi-python-client does not support two kinds of body.
    parameters = {"parameters": [{"$ref": "#/components/parameters/RequestId"}]} if others else {}
    return {**parameters, "requestBody": {"required": True, "content": content}}


def describe_file(description: str | None = None) -> dict[str, Any]:
    """Describe a file in a form or a body."""
    return {"type": "string", "format": "binary", **({} if description is None else {"description": description})}


@dataclass(frozen=True)
class ReceivedContent:
    """Content that was stored completely in the blob store."""

    key: str
    sha256: str
    size_bytes: int


class Uploads:
    """Receives uploads of datasets and models, each under a blob key that no other request writes to."""

    def __init__(self, blobs: Blobs, settings: Settings, shared_places: SharedPlaces) -> None:
        self._blobs = blobs
        self._limit_bytes = settings.max_upload_bytes
        self._min_bytes_per_s = settings.min_upload_bytes_per_s
        self._max_s = float(settings.max_upload_s)
        self._places = UploadPlaces(UPLOADS_AT_ONCE, UPLOADS_AT_ONCE)
        self._shared_places = shared_places
        self._form_places = UploadPlaces(FORMS_AT_ONCE, FORMS_AT_ONCE_PER_OWNER)
        self._result_places = UploadPlaces(RESULTS_AT_ONCE, RESULTS_AT_ONCE)
        self._folders = [blobs.get_local_folder(""), settings.home_path]
        self._threads = CapacityLimiter(UPLOADS_AT_ONCE)

    async def receive_body(
        self,
        request: Request,
        owner: str,
        folder: str,
        digest: str | None,
        *,
        limit_bytes: int | None = None,
        check: Check = iter,
    ) -> ReceivedContent:
        """Store the body of a request below a folder of the blob store.

        Args:
            limit_bytes: the maximum size of the body. None: the limit for datasets.
            check: passes the chunks on, and may raise BodyTooLarge.
        Raises:
            BodyTooLarge, DigestMismatch, InvalidForm, StorageUnavailable, TooManyUploads, UploadTooSlow.
            QuotaExceeded, OwnerSuspended, DatabaseUnavailable: as for any quota.
        """
        limit_bytes = self._limit_bytes if limit_bytes is None else limit_bytes
        await require_length(request, limit_bytes)
        loop = asyncio.get_running_loop()
        stream = pace_stream(request.stream(), self._min_bytes_per_s, self._max_s)

        def iterate_chunks() -> Iterator[bytes]:
            with suppress(StopAsyncIteration):
                while True:
                    yield asyncio.run_coroutine_threadsafe(stream.__anext__(), loop).result()

        async with self._take_place(request, owner, self._places):
            try:
                return await self._receive(check(iterate_chunks()), folder, digest, limit_bytes)
            except BodyTooLarge as error:
                await discard_body(request, MAX_DISCARDED_BYTES - error.limit_bytes, MAX_DISCARD_S)
                raise
            except ClientDisconnect:
                raise InvalidForm("The connection closed before the content was complete.") from None

    @asynccontextmanager
    async def form(
        self, request: Request, owner: str, limit_bytes: int, *, is_result: bool = False
    ) -> AsyncIterator[FormData]:
        """Receive the fields and the file of a multipart form. A large file is kept on disk, in the data folder.

        Args:
            is_result: whether it is the result of a training, which waits for its turn and does not count as an upload.
        Raises:
            BodyTooLarge, InvalidForm, TooManyUploads, UploadTooSlow.
            StorageUnavailable: if the disk is full.
            QuotaExceeded, OwnerSuspended, DatabaseUnavailable: as for any quota, unless it is a result.
        """
        limit_bytes = min(limit_bytes, FORM_BYTES)
        await require_length(request, limit_bytes)
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise InvalidForm("The body is not a form. Send `multipart/form-data`.")
        paced = pace_stream(request.stream(), self._min_bytes_per_s, min(self._max_s, MAX_FORM_S))
        places = (
            self._wait_for_place(request, owner) if is_result else self._take_place(request, owner, self._form_places)
        )
        async with places:
            form = await self._parse_form(request, _limit_stream(paced, limit_bytes))
            try:
                yield form
            finally:
                await form.close()

    @asynccontextmanager
    async def _take_place(self, request: Request, owner: str, here: UploadPlaces) -> AsyncIterator[None]:
        """Hold a place in this process, and one of the owner's places across all processes, while the block runs."""
        async with AsyncExitStack() as taken:
            async with deliver_refusal(request, TooManyUploads, QuotaExceeded):
                taken.enter_context(here.take_for(owner))
                await taken.enter_async_context(self._shared_places.taken(Quota.UPLOADS, owner))
            yield

    @asynccontextmanager
    async def _wait_for_place(self, request: Request, owner: str) -> AsyncIterator[None]:
        """Hold a place for a result in this process while the block runs."""
        async with deliver_refusal(request, TooManyUploads, QuotaExceeded):
            await self._result_places.wait_for_room(owner, PATIENCE_S)
        with self._result_places.take_for(owner):
            yield

    async def _parse_form(self, request: Request, stream: AsyncGenerator[bytes]) -> FormData:
        parser = _OnDiskParser(request.headers, stream, max_files=1, max_fields=len(FIELDS) + 1)
        parser.folder = next(
            (str(folder) for folder in self._folders if folder is not None and _is_usable(folder)), None
        )
        try:
            return await parser.parse()
        except MultiPartException:
            raise InvalidForm(
                "The form could not be read. Expected multipart/form-data with one file and a few text fields, each "
                "with a name: `curl -F file=@…`."
            ) from None
        except ClientDisconnect:
            raise InvalidForm("The connection closed before the form was complete.") from None
        except OSError as error:
            raise StorageUnavailable from error

    async def receive_file(self, file: UploadFile, folder: str, check: Check = iter) -> ReceivedContent:
        """Store a form's file below a folder of the blob store. Raises the same errors as `receive_body`."""
        chunks = iter(partial(file.file.read, READ_BYTES), b"")
        return await self._receive(check(chunks), folder, None, self._limit_bytes)

    async def delete(self, received: ReceivedContent) -> None:
        """Delete an upload that is not needed."""
        with suppress(StorageUnavailable):
            await to_thread.run_sync(self._blobs.delete, received.key)

    async def _receive(
        self, chunks: Iterator[bytes], folder: str, digest: str | None, limit_bytes: int
    ) -> ReceivedContent:
        """Store the chunks, which are counted and hashed on the way. digest: their `Content-Digest`."""
        key, announced = f"{folder}/{secrets.token_hex(8)}", None if digest is None else _parse_sha256(digest)
        hashed, size_bytes = hashlib.sha256(), 0

        def pass_on() -> Iterator[bytes]:
            nonlocal size_bytes
            for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > limit_bytes:
                    raise BodyTooLarge(limit_bytes)
                hashed.update(chunk)
                yield chunk
            if announced not in (None, hashed.hexdigest()):
                raise DigestMismatch(announced, hashed.hexdigest(), size_bytes)

        await to_thread.run_sync(self._blobs.put_stream, key, pass_on(), limiter=self._threads)
        return ReceivedContent(key, hashed.hexdigest(), size_bytes)


def _parse_sha256(digest: str) -> str:
    """Extract the SHA-256, in hexadecimal, from a header that matches DIGEST."""
    found = re.fullmatch(DIGEST, digest)
    if found is None:
        raise InvalidParameter("`Content-Digest` must contain `sha-256=:<base64 of 32 bytes>:`.")
    return base64.b64decode(found[2]).hex()


async def _limit_stream(stream: AsyncIterator[bytes], limit_bytes: int) -> AsyncGenerator[bytes]:
    """Pass the chunks on. Raises BodyTooLarge beyond the limit."""
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        yield chunk


class _OnDiskParser(MultiPartParser):
    """Keeps a form's large files in our own folder, because the system's temporary folder may be in memory.

    The files have no names there, so a process that dies leaves none behind.
    """

    folder: str | None = None

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._files_to_close_on_error.pop().close()
            file = SpooledTemporaryFile(max_size=self.spool_max_size, dir=self.folder)  # noqa: SIM115 - as the base does
            self._files_to_close_on_error.append(file)
            self._current_part.file.file = file  # type: ignore[assignment]  # as Starlette itself has it


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def read_form_texts(form: FormData, names: Collection[str]) -> dict[str, str]:
    """Return the texts of a form, which may have each of these fields once besides its `file`. Raises InvalidForm."""
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if name not in names:
            raise InvalidForm(f"There is no field {name[:64]!r}. The form accepts `file` and {', '.join(names)}.")
        if not isinstance(value, str):
            raise InvalidForm(
                f"The field {name!r} was sent as a file, but only `file` can be one. `curl -F` treats a value that "
                f"starts with `@` as a file. Use `--form-string '{name}=…'` for text, or `-F '{name}=<FILE'` to read "
                "it from a file."
            )
        if name in texts:
            raise InvalidForm(f"The field {name!r} occurs twice.")
        texts[name] = value
    return texts


def get_form_file(form: FormData) -> UploadFile:
    """Get the form's file. Raises InvalidForm if there is none."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidForm("The form has no file. Send the content as the field `file`, with a file name.")
    return file
