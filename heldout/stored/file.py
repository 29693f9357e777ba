"""The base class of all JSON files in the blob store, each of which names the version of its format."""

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from heldout.errors import FileOfLaterRelease


class StoredPart(BaseModel):
    """A part of a stored file. Fields unknown to this release are ignored."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class StoredFile(StoredPart):
    """A whole stored file.

    A change that older readers would misread needs a new version; a new field that they can ignore does not.
    """

    file_name: ClassVar[str]
    newest_format: ClassVar[int] = 1

    # The first releases wrote no version; their files are version 1.
    format: int = Field(1, ge=1, strict=True)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a stored file.

        Raises:
            FileOfLaterRelease: if its version is unknown to this release.
            ValueError: if it is damaged.
        """
        found: JsonValue = json.loads(content, object_hook=cls.compact)
        version = found.get("format", 1) if isinstance(found, dict) else 1
        # Check the version first, because the rest may look different in a later version.
        if isinstance(version, int) and version > cls.newest_format:
            raise FileOfLaterRelease(cls.file_name, version, cls.newest_format)
        return cls.model_validate(found)

    @classmethod
    def compact(cls, part: dict[str, Any]) -> dict[str, Any]:
        """Reduce an object of the file to what is kept in memory while the rest of the file is read."""
        return part

    def to_bytes(self) -> bytes:
        """Return the file's content. Raises ValueError if a number is not finite, which JSON cannot represent."""
        content: dict[str, Any] = self.model_dump(mode="json")
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
