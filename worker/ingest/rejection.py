"""The limits of an ingest, and rejections of uploads: a stable code, the member at fault, and what to do."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from heldout.lifecycle.resources import RETRIED_REJECTIONS, RejectionCode
from heldout.markup import make_visible

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True)
class IngestLimits:
    """Limits of one ingest, set by the operator and not by clients."""

    upload_bytes: int = 2 * GIB
    unpacked_bytes: int = 16 * GIB  # of all members of an archive together
    normalised_bytes: int = 8 * GIB  # images.npy
    members: int = 500_000  # entries of an archive of any kind
    images: int = 1_000_000  # rows of arrays and tables
    member_bytes: int = 256 * MIB  # one image file
    pixels: int = 50_000_000  # of one image before it is resized
    classes: int = 1_000
    memory_bytes: int = GIB  # of each process: private memory, not what is mapped from files
    wall_s: int = 3_600
    processes: int = 2  # processes that decode; with 1, the ingest's own process does


def empty_folder(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


# Faults of single files, as a list of files describes them.
BROKEN_FILES = {
    RejectionCode.ARCHIVE_DAMAGED: "damaged in the archive",
    RejectionCode.UNSAFE_MEMBER: "links or special files",
    RejectionCode.NAME_NOT_UTF8: "of names that are not UTF-8",
    RejectionCode.MEMBER_TOO_LARGE: "too large as files",
    RejectionCode.UNREADABLE_MEMBER: "not an image, or broken",
    RejectionCode.UNSUPPORTED_IMAGE: "of an unsupported format",
    RejectionCode.ANIMATED_IMAGE: "of several frames",
    RejectionCode.IMAGE_TRUNCATED: "cut off",
    RejectionCode.IMAGE_TOO_LARGE: "of too many pixels",
    RejectionCode.IMAGE_BOMB: "of more data than its pixels need",
}
# What to do about some of them. Files with other faults should be saved again.
REMEDIES = {
    RejectionCode.ARCHIVE_DAMAGED: "Pack the archive again.",
    RejectionCode.UNSAFE_MEMBER: "Pack the files that links lead to (`tar --dereference --hard-dereference`, `zip` "
    "without `-y`).",
    RejectionCode.NAME_NOT_UTF8: "Rename files, or pack with a tool that writes UTF-8 names.",
}
SAVE_AGAIN = "Save images again as PNG or JPEG, or remove them."
MAX_LISTED_FILES = 50  # names shown for each fault


class Rejection(Exception):
    """An upload that cannot become a dataset. Its owner sees the text.

    detail says what was received, what is expected and what to do; member names the file, array or row at fault.
    """

    def __init__(self, code: RejectionCode, detail: str, member: str | None = None) -> None:
        self.detail = make_visible(detail)
        super().__init__(self.detail)
        self.code = code
        self.member = None if member is None else clean_name(member)

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt at the same upload can end differently."""
        return self.code in RETRIED_REJECTIONS

    def __reduce__(self) -> tuple[Any, ...]:
        return Rejection, (self.code, self.detail, self.member)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code.value, "detail": self.detail, "member": self.member}


# The codes that most readers of uploads use.
make_bad_array = partial(Rejection, RejectionCode.BAD_ARRAY)
make_bad_labels = partial(Rejection, RejectionCode.BAD_LABELS)
make_no_images = partial(Rejection, RejectionCode.NO_IMAGES)


def make_out_of_memory(limits: IngestLimits) -> Rejection:
    return Rejection(
        RejectionCode.OUT_OF_MEMORY,
        f"The ingest needs more memory than the {format_size(limits.memory_bytes)} that it may use. Upload smaller "
        "images, or ask the operator for a higher limit.",
    )


def make_broken_files(faults: Sequence[Rejection], *, can_skip: bool = True) -> Rejection:
    """Combine the rejections of unreadable files. A single one keeps its text; several become a list by fault.

    Args: can_skip is whether `skip_broken` would help.
    """
    skip = " Or continue without: `skip_broken` (`--skip-broken`)." if can_skip else ""
    first = faults[0]
    if len(faults) == 1:
        return Rejection(first.code, f"{first.detail}{skip}", first.member)
    listed = "; ".join(
        f"{what} ({len(names):,}): {list_some([*map(repr, names)], MAX_LISTED_FILES)}"
        for what, names in group_by_fault(faults).items()
    )
    remedies = " ".join(dict.fromkeys(REMEDIES.get(fault.code, SAVE_AGAIN) for fault in faults))
    detail = f"{len(faults):,} files cannot be read: {listed}. {remedies}{skip}"
    return Rejection(first.code, detail, first.member)


def group_by_fault(faults: Sequence[Rejection]) -> Mapping[str, list[str]]:
    """Group the names of the files by fault, in words."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        found.setdefault(BROKEN_FILES[fault.code], []).append(fault.member or "")
    return found


def list_some(words: Sequence[str], most: int = 3) -> str:
    """Join the first names, as in `a, b, c and 2 more`."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def clean_name(name: str, longest: int = 200) -> str:
    """Make a name safe to show: escape control characters, and omit the middle of a long name."""
    shown = make_visible(name)
    if len(shown) <= longest:
        return shown
    half = longest // 2
    return f"{shown[:half]}…{shown[-half:]}"


def format_size(size: int) -> str:
    """Format bytes for people: `1.5 GiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
