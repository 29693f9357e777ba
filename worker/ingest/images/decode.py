"""Decodes one image file to the size and channels of a dataset, by the rules in docs/reference/images.md."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.images.deep import convert_channels, is_deep, read_8_bit_planes, read_deep_planes
from worker.ingest.images.formats import describe_opened_excess, detect_other_format, examine_container, read_format
from worker.ingest.images.pixels import Rule, resize_image
from worker.ingest.rejection import IngestLimits, Rejection, clean_name, format_size

PLUGINS: dict[str, type[ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
}
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L", "I"})
# What Pillow raises on broken files.
DECODE_ERRORS = (
    OSError,
    AssertionError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class TargetShape:
    """The form of all decoded images. Without a resize rule each must already have this size.

    bits: of each value; 8 are stored as uint8, 16 as float32.
    """

    height: int
    width: int
    channels: Literal[1, 3]
    rule: Rule | None
    bits: Literal[8, 16] = 8


class ColourFound(Exception):
    """An image has color, and the images before it did not."""


class OtherSize(Exception):
    """An image does not have the required size; its (height, width)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        self.size = height, width


class DepthFound(Exception):
    """An image has 16 bits a channel, and the images before it had 8."""


class OpenedImage:
    """An image file, opened as its header describes it. Only its methods read pixels.

    Attributes:
        file: as Pillow has it. is_deep: whether it has 16 bits a channel. scans: how often decoding visits all pixels.
    Raises:
        Rejection: with the image's name.
    """

    def __init__(self, data: bytes, name: str, limits: IngestLimits) -> None:
        self._data, self._name, self._limits = data, name, limits
        self.is_deep = is_deep(data)
        format_ = _detect_format(data, name)
        with _explain_faults(name, limits):
            if format_ == "WebP":
                # Pillow allocates the pixels before it reports their number.
                _check_size(*_read_webp_size(data), name, limits)
            excess, self.scans = examine_container(data, format_)
            _refuse_excess(excess, name)
            self.file = PLUGINS[format_](BytesIO(data))
            _check_size(self.file.width, self.file.height, name, limits)
            _refuse_excess(describe_opened_excess(self.file, len(data)), name)
            if getattr(self.file, "is_animated", False) and format_ != "JPEG":
                raise Rejection(
                    RejectionCode.ANIMATED_IMAGE,
                    f"{clean_name(name)!r} has {getattr(self.file, 'n_frames', 'several')} frames. Upload each frame "
                    "as a file.",
                    name,
                )

    @property
    def encoding(self) -> str:
        """Its format and mode, as reports count them."""
        return f"{self.file.format} {self.file.mode}{' 16 bits' if self.is_deep else ''}"

    def read_upright(self) -> Image.Image:
        """Return the whole image, turned as its EXIF orientation says. Raises Rejection."""
        with _explain_faults(self._name, self._limits):
            self.file.load()
        return _turn_upright(self.file)

    def decode(self, wanted: TargetShape, *, any_grey: bool) -> bytes:
        """Return the pixels, (height, width, channels) as bytes.

        Raises:
            Rejection: with the image's name.
            OtherSize: if it has another size, and no rule says how to change it.
            DepthFound: if it has 16 bits a channel and 8 are wanted.
            ColourFound: if it has colour, one channel is wanted and not `any_grey` (colour may be given up).
        """
        with _explain_faults(self._name, self._limits):
            self.file.load()
            if not any_grey and wanted.channels == 1 and not is_grey(self.file):
                raise ColourFound
            if wanted.bits == 8 and self.is_deep:
                raise DepthFound
            if wanted.bits == 16:
                return self._decode_deep(wanted)
            image = _turn_upright(self.file) if self.file.info else self.file
            return _fit_image(_convert_to_mode(image, "L" if wanted.channels == 1 else "RGB"), wanted).tobytes()

    def _decode_deep(self, wanted: TargetShape) -> bytes:
        """Decode the pixels as float32, 0 to 65535."""
        if self.is_deep:
            planes = read_deep_planes(self._data, self.file)
        else:
            planes = read_8_bit_planes(_convert_to_mode(self.file, "L" if is_grey(self.file) else "RGB"))
        fitted = [_fit_image(_turn_upright(plane), wanted) for plane in convert_channels(planes, wanted.channels)]
        return np.stack([np.asarray(plane, np.float32) for plane in fitted], axis=-1).tobytes()


def is_grey(image: Image.Image) -> bool:
    """Return whether the file stores no color: one channel, or a palette of grays."""
    if image.mode in GREY_MODES:
        return True
    if image.mode != "P":
        return False
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool(np.all(palette == palette[:, :1]))


@contextmanager
def _explain_faults(name: str, limits: IngestLimits) -> Iterator[None]:
    """Turn what Pillow raises into a Rejection with the image's name."""
    try:
        yield
    except MemoryError:
        raise Rejection(
            RejectionCode.OUT_OF_MEMORY,
            f"{clean_name(name)!r} needs more memory than the {format_size(limits.memory_bytes)} that the ingest may "
            "use. Make it smaller.",
            name,
        ) from None
    except DECODE_ERRORS as error:
        raise _make_unreadable(name, error) from None


def _detect_format(data: bytes, name: str) -> str:
    found = read_format(data)
    if found is not None:
        return found
    if not data:
        raise Rejection(
            RejectionCode.UNREADABLE_MEMBER, f"{clean_name(name)!r} is empty. Remove it or upload it again.", name
        )
    other = detect_other_format(data)
    if other:
        raise Rejection(
            RejectionCode.UNSUPPORTED_IMAGE,
            f"{clean_name(name)!r} is {other}, which is not supported. Convert it to PNG, JPEG, WebP or BMP.",
            name,
        )
    raise Rejection(
        RejectionCode.UNREADABLE_MEMBER,
        f"{clean_name(name)!r} is not a PNG, JPEG, WebP or BMP: it begins with {data[:8].hex(' ')}. Remove it or save "
        "it again.",
        name,
    )


def _check_size(width: int, height: int, name: str, limits: IngestLimits) -> None:
    if width * height > limits.pixels:
        raise Rejection(
            RejectionCode.IMAGE_TOO_LARGE,
            f"{clean_name(name)!r} claims {width:,}×{height:,} pixels; at most {limits.pixels:,} are read. Make it "
            "smaller.",
            name,
        )


def _read_webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<2H", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise SyntaxError("it has no WebP header")


def _turn_upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says. EXIF that cannot be read is ignored."""
    if "exif" not in image.info:
        return image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ImageOps.exif_transpose(image)
        except DECODE_ERRORS:
            return image


def _convert_to_mode(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _fit_image(image: Image.Image, wanted: TargetShape) -> Image.Image:
    if image.height == wanted.height and image.width == wanted.width:
        return image
    if wanted.rule is None:
        raise OtherSize(image.height, image.width)
    return resize_image(image, wanted.height, wanted.width, wanted.rule)


def _refuse_excess(excess: str | None, name: str) -> None:
    if excess is not None:
        raise Rejection(RejectionCode.IMAGE_BOMB, f"{clean_name(name)!r} {excess}. Save the image again.", name)


def _make_unreadable(name: str, error: BaseException) -> Rejection:
    """Say what is wrong with a file that Pillow cannot read. Pillow's own message may quote paths and contents."""
    why = str(error).lower()
    if "truncated" in why or isinstance(error, EOFError):
        return Rejection(
            RejectionCode.IMAGE_TRUNCATED,
            f"{clean_name(name)!r} ends before its pixels do. Upload the whole file.",
            name,
        )
    if "too large" in why or "too much memory" in why:
        return Rejection(
            RejectionCode.IMAGE_BOMB,
            f"{clean_name(name)!r} holds more data than its pixels need. Save it without metadata.",
            name,
        )
    return Rejection(RejectionCode.UNREADABLE_MEMBER, f"{clean_name(name)!r} is a broken image. Save it again.", name)
