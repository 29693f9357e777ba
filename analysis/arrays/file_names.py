"""The names of an uploaded dataset's images: `members.txt` next to its other files, one name per line."""

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

MEMBERS_FILE = "members.txt"
_NEWLINE = ord("\n")
_CHUNK_BYTES = 1024 * 1024


def make_members_key(dataset_id: str) -> str:
    """Return where the names are stored. They belong to the dataset, not to its content, which owners share."""
    return f"datasets/{dataset_id}/{MEMBERS_FILE}"


def read_names(file: BinaryIO, indices: Collection[int]) -> dict[int, str]:
    """Return the names of the images at these positions, without loading all others."""
    wanted, found, first, rest = sorted(indices), dict[int, str](), 0, b""
    while wanted and (chunk := file.read(_CHUNK_BYTES)):
        *lines, rest = (rest + chunk).split(b"\n")
        while wanted and wanted[0] < first + len(lines):
            index = wanted.pop(0)
            found[index] = lines[index - first].decode("utf-8", "replace")
        first += len(lines)
    return found


class FileNames:
    """The names by the images' positions. Memory use is little more than the file itself."""

    def __init__(self, names: Path | bytes) -> None:
        """The file, or its content."""
        is_content = isinstance(names, bytes)
        self._content = np.frombuffer(names, np.uint8) if is_content else np.fromfile(names, np.uint8)
        self._ends = np.flatnonzero(self._content == _NEWLINE)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        first = 0 if index == 0 else int(self._ends[index - 1]) + 1
        return self._content[first : self._ends[index]].tobytes().decode("utf-8", "replace")
