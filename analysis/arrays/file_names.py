"""The names of an uploaded dataset's images: `members.txt` next to its other files, one name per line."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

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


# What names may have in front of the number of an image, the finest first. Names of groups have a digit.
RULES = (
    r"([^/]*\d[^/]*)[_-][^/_-]+$",
    r"(?:^|/)([^/_-]*\d[^/_-]*)[_-][^/]*$",
    r"(?:^|/)([A-Za-z]+[_-]?\d+)[_-][^/]*$",
    r"([^/]*\d[^/]*)/[^/]+$",
)
MIN_GROUPS = 3
MIN_MEAN_IMAGES = 2.0


def group_names(names: Sequence[str], classes: int) -> tuple[str, list[str], NDArray[np.int64]] | None:
    """Group names by the finest rule that matches every name.

    Names that repeat the class, or number the images, are not groups: there must be more groups than classes, and two
    images in each on average.

    Returns:
        The rule, which is a value of `group_by`; the names of the groups; (names,) the number of each name's group.
        None if names suggest no groups.
    """
    for rule in RULES:
        found = [re.search(rule, name) for name in names]
        if not all(found):
            continue
        of_keys, groups = np.unique([match[1] for match in found if match is not None], return_inverse=True)
        if max(MIN_GROUPS, classes + 1) <= len(of_keys) <= len(names) / MIN_MEAN_IMAGES:
            return rule, of_keys.tolist(), groups
    return None
