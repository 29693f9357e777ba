"""Counts and hashes content while it arrives."""

import base64
import hashlib
import re
from collections.abc import Iterator

from heldout.errors import BodyTooLarge, DigestMismatch, InvalidParameter

# The Content-Digest header of RFC 9530. Algorithms other than sha-256 are ignored.
DIGEST = r"^(.*, *)?sha-256=:([A-Za-z0-9+/]{43}=):( *,.*)?$"


class HashedStream:
    """Counts and hashes chunks. Raises if they exceed the limit, or if the hash differs from the announced one."""

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


def parse_sha256(digest: str) -> str:
    """Extract the SHA-256, in hexadecimal, from a header that matches DIGEST."""
    found = re.fullmatch(DIGEST, digest)
    if found is None:
        raise InvalidParameter("`Content-Digest` must contain `sha-256=:<base64 of 32 bytes>:`.")
    return base64.b64decode(found[2]).hex()
