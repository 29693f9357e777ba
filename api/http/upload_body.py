"""Uploads: bodies streamed to the blob store, bounded and hashed on their way, never whole in memory."""

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from api.http.body import MAX_DISCARD_S, MAX_DISCARDED_BYTES, discard_body, parse_json, refused_values, require_length
from heldout.datasets import DatasetSpec
from heldout.errors import (
    BodyTooLarge,
    DigestMismatch,
    FieldError,
    InvalidForm,
    InvalidParameter,
    InvalidSpec,
    StorageUnavailable,
)
from models.blobs import Blobs

# Uploads have threads of their own: slow ones must not take those that answer requests.
UPLOADS_AT_ONCE = 100
READ_BYTES = 1024 * 1024
# A form is kept in the temporary folder first, which may be in memory; larger content needs `PUT …/content`.
FORM_BYTES = 64 * 1024 * 1024
# The Content-Digest header of RFC 9530; other algorithms beside sha-256 are ignored.
DIGEST = r"^(.*, *)?sha-256=:([A-Za-z0-9+/]{43}=):( *,.*)?$"
# Fields of a form whose texts are JSON; those of the others are the values themselves.
JSON_FIELDS = ("splits", "resize")
# Likewise, but a text without quotes is the usual form of such a value.
BOOLEAN_FIELDS = ("skip_broken",)
_CUT_BY_CURL = "If curl sent it: `-F` ends a text at `;`, which `--form-string 'group_by=…'` does not."
FIELDS = tuple(DatasetSpec.model_fields)


@dataclass(frozen=True)
class ReceivedContent:
    """Content that is stored whole in the blob store."""

    key: str
    sha256: str
    size_bytes: int


class Uploads:
    """Receives uploads of datasets, each under a blob key that no other request writes to."""

    def __init__(self, blobs: Blobs, limit_bytes: int) -> None:
        self._blobs = blobs
        self._limit_bytes = limit_bytes
        self._threads = CapacityLimiter(UPLOADS_AT_ONCE)

    async def receive_body(self, request: Request, dataset_id: str, digest: str | None) -> ReceivedContent:
        """Store the body of a request.

        Raises:
            BodyTooLarge, DigestMismatch, InvalidForm, StorageUnavailable.
        """
        await require_length(request, self._limit_bytes)
        loop = asyncio.get_running_loop()
        stream = request.stream()

        def chunks() -> Iterator[bytes]:
            with suppress(StopAsyncIteration):
                while True:
                    yield asyncio.run_coroutine_threadsafe(_next_chunk(stream), loop).result()

        try:
            return await self._receive(chunks(), dataset_id, digest)
        except BodyTooLarge:
            await discard_body(request, MAX_DISCARDED_BYTES - self._limit_bytes, MAX_DISCARD_S)
            raise
        except ClientDisconnect:
            raise InvalidForm("The connection ended in the middle of the content.") from None

    async def receive_file(self, file: UploadFile, dataset_id: str) -> ReceivedContent:
        """Store a file of a form. Raises as `receive_body`."""
        return await self._receive(iter(partial(file.file.read, READ_BYTES), b""), dataset_id, None)

    async def delete(self, received: ReceivedContent) -> None:
        """Delete an upload that is not needed."""
        with suppress(StorageUnavailable):
            await to_thread.run_sync(self._blobs.delete, received.key)

    async def _receive(self, chunks: Iterator[bytes], dataset_id: str, digest: str | None) -> ReceivedContent:
        key = f"uploads/{dataset_id}/{secrets.token_hex(8)}"
        hashed = _HashedStream(chunks, self._limit_bytes, None if digest is None else sha256_in(digest))
        await to_thread.run_sync(self._blobs.put_stream, key, iter(hashed), limiter=self._threads)
        return ReceivedContent(key, hashed.sha256, hashed.size_bytes)


class _HashedStream:
    """Chunks, counted and hashed on the way; refused beyond the limit, or if the hash is not the announced one."""

    def __init__(self, chunks: Iterator[bytes], limit_bytes: int, announced: str | None) -> None:
        self._chunks, self._limit_bytes, self._announced = chunks, limit_bytes, announced
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            if self.size_bytes > self._limit_bytes:
                raise BodyTooLarge(self._limit_bytes)
            self._hash.update(chunk)
            yield chunk
        if self._announced is not None and self._announced != self.sha256:
            raise DigestMismatch(self._announced, self.sha256, self.size_bytes)


async def _next_chunk(stream: AsyncIterator[bytes]) -> bytes:
    """The next chunk, as the coroutine that `run_coroutine_threadsafe` needs."""
    return await anext(stream)


def sha256_in(digest: str) -> str:
    """The SHA-256, in hexadecimal, of a header that has the form of DIGEST."""
    found = re.fullmatch(DIGEST, digest)
    if found is None:
        raise InvalidParameter("`Content-Digest` must hold `sha-256=:<base64 of 32 bytes>:`.")
    return base64.b64decode(found[2]).hex()


async def read_form(request: Request, limit_bytes: int) -> FormData:
    """The fields and the file of a multipart form; the file is on disk where it is large.

    Raises:
        BodyTooLarge, InvalidForm.
        StorageUnavailable: if this machine's temporary folder is full.
    """
    limit_bytes = min(limit_bytes, FORM_BYTES)
    await require_length(request, limit_bytes)
    try:
        return await _LimitedRequest(request, limit_bytes).form(max_files=1, max_fields=len(FIELDS) + 1)
    except HTTPException as error:
        raise InvalidForm(f"The form cannot be read: {error.detail}") from None
    except ClientDisconnect:
        raise InvalidForm("The connection ended in the middle of the form.") from None
    except OSError as error:
        raise StorageUnavailable from error


class _LimitedRequest(Request):
    """A request whose stream raises BodyTooLarge beyond a limit."""

    def __init__(self, request: Request, limit_bytes: int) -> None:
        super().__init__(request.scope, request.receive)
        self._limit_bytes = limit_bytes

    async def stream(self) -> Any:  # an async generator, as the base class has it
        received = 0
        async for chunk in super().stream():
            received += len(chunk)
            if received > self._limit_bytes:
                raise BodyTooLarge(self._limit_bytes)
            yield chunk


def spec_in_form(form: FormData) -> DatasetSpec:
    """The dataset spec of a form: the fields of the JSON body, `splits` and `resize` as JSON texts.

    Raises:
        InvalidForm, InvalidSpec, InvalidJson.
    """
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if name not in FIELDS:
            raise InvalidForm(f"There is no field {name[:64]!r}; a form has `file` and {', '.join(FIELDS)}.")
        if not isinstance(value, str):
            raise InvalidForm(
                f"The field {name!r} came as a file; only `file` is one. `curl -F` reads a file where a text begins "
                f"with `@` or `<`: send it with `--form-string '{name}=…'`."
            )
        if name in fields:
            raise InvalidForm(f"The field {name!r} comes twice.")
        if _holds_fields(value):
            raise InvalidForm(
                f"The field {name!r} holds other fields in place of a text. `curl -F` takes a text that begins with "
                f"`(` for a group of fields: send it with `--form-string '{name}=(…)'`."
            )
        fields[name] = parse_json(value.encode()) if name in JSON_FIELDS + BOOLEAN_FIELDS else _storable(value)
    try:
        return dataset_spec(fields)
    except InvalidSpec as refused:
        if not any(one.pointer == "/group_by" for one in refused.errors):
            raise
        errors = [
            FieldError(one.pointer, f"{one.detail} {_CUT_BY_CURL}" if one.pointer == "/group_by" else one.detail)
            for one in refused.errors
        ]
        raise InvalidSpec(f"{refused.detail} {_CUT_BY_CURL}", errors=errors) from None


def _holds_fields(text: str) -> bool:
    """Whether a text is itself a multipart body, as curl sends it where a value begins with `(`."""
    lines = text.strip().splitlines()
    return bool(lines) and lines[0].startswith("--") and lines[-1] == f"{lines[0].removesuffix('--')}--"


def file_in_form(form: FormData) -> UploadFile:
    """Raises InvalidForm if there is none."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidForm("The form has no file; send the content as the field `file`, with a file name.")
    return file


def dataset_spec(content: Any) -> DatasetSpec:
    """The spec in a JSON body. Raises InvalidSpec with the refused values."""
    try:
        return DatasetSpec.model_validate(content)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise refused_values(found, content) from None


def _storable(text: str) -> str:
    return str(parse_json(json.dumps(text).encode()))
