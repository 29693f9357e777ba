"""The sizes of images before they are sent, read from the first bytes of some files, and one size for all."""

import struct
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from heldout.client.packing import READ_ERRORS, Member, NothingToPack, read_members
from heldout.spec.dataset import MAX_SIDE, MIN_SIDE

# About as many files are looked at, spread over a folder or a zip. Of a tar, which is read in order, the first ones.
MOST_FILES = 500
# The size of a JPEG comes after its camera's notes and thumbnail.
HEADER_BYTES = 2**18
# Sides to propose: a larger one shows more, but training takes longer with the square of it.
SIDES = (32, 48, 64, 96)
SHOWN_SIZES = 3
Size = tuple[int, int]


class SizesDiffer(ValueError):
    """Images that a dataset cannot have as they are. `found` says what they are, and `side` is a size for all."""

    def __init__(self, found: str, side: int) -> None:
        self.found, self.side = found, side
        super().__init__(
            f"{found} Nothing was sent. Pass one size for all, such as "
            f'resize={{"height": {side}, "width": {side}, "rule": "pad"}}; the rule may also be "crop" or "stretch". '
            "With resize=None they are sent as they are."
        )


def require_one_size(paths: Sequence[Path], ignored: Collection[str] = ()) -> None:
    """Check the sizes of some images in folders and archives. What cannot be read is left for the service to refuse.

    Args:
        ignored: names of folders whose images are not used.
    Raises:
        SizesDiffer: if the images have several sizes, or one that is too large or too small.
    """
    sizes = [size for path in paths for size in _iterate_sizes(path, ignored)]
    counts = Counter(sizes)
    if not counts:
        return
    [(height, width), _] = counts.most_common(1)[0]
    side = propose_side(sizes)
    if len(counts) > 1:
        shown = ", ".join(f"{count:,} of {h}×{w}" for (h, w), count in counts.most_common(SHOWN_SIZES))
        more = ", …" if len(counts) > SHOWN_SIZES else ""
        raise SizesDiffer(
            f"{len(sizes):,} images that were looked at have {len(counts):,} sizes (height×width): {shown}{more}.", side
        )
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        limits = f"sides of {MIN_SIDE} to {MAX_SIDE} are accepted"
        raise SizesDiffer(f"The images have {height}×{width} pixels (height×width); {limits}.", side)


def propose_side(sizes: Sequence[Size]) -> int:
    """Return the side of a square for images of these sizes: the largest usual one that enlarges few of them."""
    shorter = median(min(size) for size in sizes)
    return max((side for side in SIDES if side <= shorter), default=max(MIN_SIDE, int(shorter)))


def read_size(start: bytes) -> Size | None:
    """Return height and width of an image from the first bytes of its file; None if they do not say.

    How a camera was turned is not read.
    """
    if start.startswith(b"\x89PNG\r\n\x1a\n") and len(start) >= 24:
        width, height = struct.unpack(">II", start[16:24])
    elif start.startswith(b"BM") and len(start) >= 26:
        width, height = map(abs, struct.unpack("<ii", start[18:26]))
    elif start[:4] == b"RIFF" and start[8:12] == b"WEBP" and len(start) >= 30:
        width, height = _read_webp_size(start)
    elif start.startswith(b"\xff\xd8"):
        return _read_jpeg_size(start)
    else:
        return None
    return height, width


def _read_webp_size(start: bytes) -> Size:
    """Return width and height."""
    if start[12:16] == b"VP8X":
        return 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    if start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", start[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _read_jpeg_size(start: bytes) -> Size | None:
    place = 2
    while place + 9 <= len(start) and start[place] == 0xFF:
        marker = start[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the start of a frame
            height, width = struct.unpack(">HH", start[place + 5 : place + 9])
            return height, width
        is_alone = marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7
        place += 1 if marker == 0xFF else 2 if is_alone else 2 + int.from_bytes(start[place + 2 : place + 4], "big")
    return None


def _iterate_sizes(path: Path, ignored: Collection[str]) -> Iterator[Size]:
    try:
        for member in _choose_members(path):
            if member.open is None or {*ignored} & {*member.name.split("/")}:
                continue
            with member.open() as file:
                size = read_size(file.read(HEADER_BYTES))
            if size is not None:
                yield size
    except (*READ_ERRORS, NothingToPack, OSError):
        return


def _choose_members(path: Path) -> Iterator[Member]:
    """Yield the files to look at; an archive is open only meanwhile."""
    is_spread = path.is_dir() or path.suffix.lower() == ".zip"
    total = sum(1 for _ in read_members(path)) if is_spread else MOST_FILES
    return islice(read_members(path), 0, total if is_spread else MOST_FILES, max(1, total // MOST_FILES))
