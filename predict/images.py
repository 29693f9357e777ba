"""Converts uploaded images into a model's pixels, as the ingest converted the dataset's own images.

The ingest's own decoders read image files, within its limits. Orientation, colours, depth and size thus follow the
same rules (docs/reference/images.md). Arrays must already have the dataset's type and range.
"""

from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.npy_rows import read_npy_header
from heldout.errors import ImageRefused, TooManyImages, WrongChannels, WrongDtype, WrongRange, WrongSize
from predict.model import ServedModel
from predict.work import Pieces
from worker.ingest.images.decode import ColourFound, DepthFound, OpenedImage, OtherSize, TargetShape
from worker.ingest.images.deep import WHITE
from worker.ingest.images.formats import MAX_SCANNED_PIXELS
from worker.ingest.images.pixels import USUAL_RANGES, convert_block_channels, resize_block
from worker.ingest.rejection import IngestLimits, Rejection

NPY_MAGIC = b"\x93NUMPY"
LIMITS = IngestLimits()
# Limits for the memory of decoding: one image, and all images of a request in sum, which bounds the time to seconds.
MAX_DECODE_BYTES, MAX_DECODE_BYTES_TOGETHER = 512 * 1024**2, 2 * 1024**3
# Scans times pixels of all images of a request: their decoding takes about two seconds beyond that of their pixels.
MAX_SCANNED_TOGETHER = 2 * MAX_SCANNED_PIXELS
# Larger files are opened and decoded in a thread. So are PNGs with compressed text, which may unpack to any size.
SHORT_PNG_BYTES, SHORT_NPY_BYTES = 65_536, 1024**2
PNG_MAGIC = b"\x89PNG"
COMPRESSED_CHUNKS = (b"zTXt", b"iTXt", b"iCCP")
# Measured memory for decoding, in bytes per pixel, and what some kinds of images add.
BYTES_A_PIXEL, WITH_ALPHA, OF_WEBP, OF_16_BITS = 10, 14, 10, 80

# How many of an array's pixels are resized in one piece of work.
PIXELS_AT_ONCE = 1024**2

# uint8 or float32, as the dataset stores them.
Pixels = NDArray[Any]


@dataclass(frozen=True)
class SentFile:
    """A file from a client: an image, or an `.npy` of one or several images. name: None if it has none."""

    content: bytes
    name: str | None = None


@dataclass
class OpenedFiles:
    """A request's files after reading their headers: images without their pixels, and arrays as they were sent.

    images: how many images the files have. pixels: how many pixels are decoded or resized. memory_bytes: approximate
    memory for resizing them, without the result.
    """

    files: list[tuple[SentFile, OpenedImage | Pixels]]
    images: int = 0
    pixels: int = 0
    memory_bytes: int = 0


def is_small(file: SentFile) -> bool:
    """Return whether reading the file's header takes less time than starting a thread."""
    content = file.content
    if content.startswith(NPY_MAGIC):
        return len(content) <= SHORT_NPY_BYTES
    if len(content) > SHORT_PNG_BYTES or not content.startswith(PNG_MAGIC):
        return False
    return not any(chunk in content for chunk in COMPRESSED_CHUNKS)


def open_files(files: list[SentFile], model: ServedModel) -> Pieces[OpenedFiles]:
    """Read the files' headers. Raises ImageRefused, WrongSize, WrongChannels, WrongDtype, TooManyImages."""
    if len(files) > model.max_images:
        raise TooManyImages(len(files), model.max_images)
    opened = OpenedFiles([])
    of_arrays = of_largest_image = of_images = scanned = 0
    for file in files:
        yield
        content: OpenedImage | Pixels
        if file.content.startswith(NPY_MAGIC):
            content = _load_array(file, opened.images, model)
            count, pixels = len(content), prod(content.shape[:3])
            if content.dtype != model.facts.dtype or content.shape[1:] != model.shape:
                of_arrays += 2 * np.dtype(np.float32).itemsize * content.size
        else:
            content = _open_image(file, opened.images, model)
            count, pixels = 1, content.file.width * content.file.height
            decode_bytes = _estimate_decode_bytes(content)
            of_largest_image, of_images = max(of_largest_image, decode_bytes), of_images + decode_bytes
            if decode_bytes > MAX_DECODE_BYTES or of_images > MAX_DECODE_BYTES_TOGETHER:
                raise _make_too_much_to_decode(opened.images, file.name, content.file.size, decode_bytes)
            scanned += content.scans * pixels
            if scanned > MAX_SCANNED_TOGETHER:
                raise _make_too_many_scans(opened.images, file.name, content, scanned)
        opened.files.append((file, content))
        opened.images += count
        opened.pixels += pixels
        if opened.images > model.max_images:
            raise TooManyImages(opened.images, model.max_images)
    opened.memory_bytes = of_arrays + of_largest_image
    return opened


def read_pixels(opened: OpenedFiles, model: ServedModel) -> Pieces[tuple[Pixels, list[str | None]]]:
    """Return all images in order, and the name of each one's file.

    The images are (images, height, width, channels), in the dataset's type.

    Raises:
        ImageRefused, WrongSize, WrongChannels, WrongDtype, WrongRange.
    """
    blocks: list[Pixels] = []
    names: list[str | None] = []
    for file, content in opened.files:
        if isinstance(content, OpenedImage):
            yield
            blocks.append(_read_image(file, content, len(names), model)[np.newaxis])
            names.append(file.name)
            continue
        images = max(1, PIXELS_AT_ONCE // prod(content.shape[1:3]))
        for first in range(0, len(content), images):
            yield
            blocks.append(_read_array(file, content[first : first + images], len(names), model))
            names += [file.name] * len(blocks[-1])
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), names


def require_range(pixels: Pixels, first: int, name: str | None, model: ServedModel) -> None:
    """Raise WrongRange if a value is not finite, or outside the range of the dataset's images."""
    low, high = model.range
    if pixels.dtype == np.uint8 and (low, high) == (0, 255):
        return
    if not (model.facts.dtype == np.uint8 or model.range in USUAL_RANGES or _get_white(model) is not None):
        low, high = -np.inf, np.inf  # the dataset's own range is accidental: other images may exceed it
    lowest, highest = float(pixels.min()), float(pixels.max())
    if low <= lowest and highest <= high and np.isfinite(lowest) and np.isfinite(highest):
        return
    is_wrong = ~(np.isfinite(pixels) & (pixels >= low) & (pixels <= high)).all(axis=(1, 2, 3))
    row = int(np.argmax(is_wrong))
    worst = pixels[row][~(np.isfinite(pixels[row]) & (pixels[row] >= low) & (pixels[row] <= high))][0]
    low, high = model.range
    raise WrongRange(
        first + row,
        name,
        f"Received a pixel of {worst:g}, but the dataset's pixels are from {low:g} to {high:g}. Scale the image as the "
        "dataset's images were scaled.",
    )


def _get_white(model: ServedModel) -> float | None:
    """Return the value of white if the dataset has whole numbers stored as float32, or else None."""
    low, high = model.range
    return high if low == 0 and high >= 255 and (int(high) + 1).bit_count() == 1 else None


def _open_image(file: SentFile, index: int, model: ServedModel) -> OpenedImage:
    """Read an image's header. Raises ImageRefused, WrongDtype, WrongSize."""
    if model.facts.dtype == np.float32 and _get_white(model) is None:
        low, high = model.range
        raise WrongDtype(
            index,
            file.name,
            f"Received an image file, but the dataset's pixels are float32 from {low:g} to {high:g}, which no image "
            "file has. Send an .npy of float32, made as the dataset's arrays were.",
        )
    try:
        opened = OpenedImage(file.content, file.name or f"image {index + 1}", LIMITS)
    except Rejection as rejection:
        raise ImageRefused(index, file.name, rejection.detail) from None
    # Only the orientation tells width from height, and it is read with the pixels.
    if model.facts.resize is None and sorted(opened.file.size) != sorted(model.shape[:2]):
        raise _make_wrong_size(index, file.name, (opened.file.height, opened.file.width), model)
    return opened


def _estimate_decode_bytes(opened: OpenedImage) -> int:
    """Estimate the peak memory for decoding the image."""
    image, a_pixel = opened.file, BYTES_A_PIXEL
    if opened.is_deep:
        a_pixel = OF_16_BITS
    elif image.has_transparency_data:
        a_pixel += WITH_ALPHA
    if image.format == "WEBP":
        a_pixel += OF_WEBP
    return a_pixel * image.width * image.height


def _make_too_much_to_decode(index: int, name: str | None, size: tuple[int, int], decode_bytes: int) -> ImageRefused:
    received = f"Received {size[0]:,}×{size[1]:,} pixels, which need {decode_bytes >> 20:,} MiB to decode"
    if decode_bytes > MAX_DECODE_BYTES:
        advice = f"at most {MAX_DECODE_BYTES >> 20:,} are available. Make it smaller, or save it without transparency"
        return ImageRefused(index, name, f"{received}; {advice} and with 8 bits per channel.")
    return ImageRefused(
        index,
        name,
        f"{received}. Together with the images before it, this is more than the "
        f"{MAX_DECODE_BYTES_TOGETHER >> 20:,} MiB for one request. Send the images in several requests, or make them "
        "smaller.",
    )


def _make_too_many_scans(index: int, name: str | None, opened: OpenedImage, scanned: int) -> ImageRefused:
    width, height = opened.file.size
    return ImageRefused(
        index,
        name,
        f"Received {width:,}×{height:,} pixels in {opened.scans} scans, each of which visits the whole image. Together "
        f"with the images before it these are {scanned:,} pixels; at most {MAX_SCANNED_TOGETHER:,} are decoded for "
        "one request. Send the images in several requests, or save them without progressive scans.",
    )


def _read_image(file: SentFile, opened: OpenedImage, index: int, model: ServedModel) -> Pixels:
    facts, (height, width, channels) = model.facts, model.shape
    white = _get_white(model)
    bits: Literal[8, 16] = 8 if facts.dtype == np.uint8 else 16
    rule = None if facts.resize is None else facts.resize.rule
    wanted = TargetShape(height, width, 1 if channels == 1 else 3, rule, bits)
    try:
        content = opened.decode(wanted, any_grey=facts.any_grey)
    except Rejection as rejection:
        raise ImageRefused(index, file.name, rejection.detail) from None
    except OtherSize as other:
        raise _make_wrong_size(index, file.name, other.size, model) from None
    except ColourFound:
        raise WrongChannels(
            index, file.name, "Received an image with colours, but the dataset's images are grey. Send it in grey."
        ) from None
    except DepthFound:
        raise WrongDtype(
            index, file.name, "Received 16 bits per channel, but the dataset's images have 8. Save it with 8 bits."
        ) from None
    pixels: Pixels = np.frombuffer(content, facts.dtype).reshape(model.shape)
    if bits == 16 and white is not None and not opened.is_deep:
        pixels = pixels * np.float32(white / WHITE)
    require_range(pixels[np.newaxis], index, file.name, model)
    return pixels


def _read_array(file: SentFile, block: Pixels, first: int, model: ServedModel) -> Pixels:
    if model.facts.dtype == np.float32 and block.dtype in (np.float64, np.uint16, np.uint8):
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused as such
            block = block.astype(np.float32)
    if block.dtype != model.facts.dtype:
        low, high = model.range
        hint = f" Multiply pixels from 0 to 1 by {high:g} and round them first." if block.dtype.kind == "f" else ""
        raise WrongDtype(
            first,
            file.name,
            f"Received {block.dtype}, but the dataset's pixels are {model.facts.dtype} from {low:g} to {high:g}.{hint}",
        )
    height, width, channels = model.shape
    if block.shape[3] != channels and not (channels == 3 or model.facts.any_grey):
        raise WrongChannels(
            first, file.name, f"Received {block.shape[3]} channels, but the dataset's images have {channels}."
        )
    if block.shape[1:3] != (height, width) and model.facts.resize is None:
        raise _make_wrong_size(first, file.name, (block.shape[1], block.shape[2]), model)
    require_range(block, first, file.name, model)
    return resize_block(convert_block_channels(block, channels), model.facts.resize, model.range[0]).astype(
        model.facts.dtype, copy=False
    )


def _load_array(file: SentFile, first: int, model: ServedModel) -> NDArray[Any]:
    """Read an `.npy` as (images, height, width, channels). One image or grey images may have fewer axes."""
    opened = BytesIO(file.content)
    try:
        shape, is_fortran, dtype = read_npy_header(opened)
    except ValueError:
        raise ImageRefused(
            first, file.name, "Received an .npy with an unreadable header. Save it with numpy.save."
        ) from None
    if dtype.hasobject or dtype.itemsize == 0 or dtype.kind not in "uif":
        raise WrongDtype(
            first, file.name, f"Received values of type {str(dtype)[:40]}; expected {model.facts.dtype} in an .npy."
        )
    has = len(file.content) - opened.tell()
    if min(shape, default=1) < 1:
        raise ImageRefused(first, file.name, f"Received an .npy of shape {str(shape)[:80]}, which has no image.")
    if prod(shape) * dtype.itemsize != has or (is_fortran and len(shape) > 1):
        what = (
            "is stored column by column"
            if is_fortran
            else f"has {has:,} bytes of values, but its header says {prod(shape) * dtype.itemsize:,}"
        )
        raise ImageRefused(
            first, file.name, f"Received an .npy that {what}. Save numpy.ascontiguousarray(images) with numpy.save."
        )
    full = _add_missing_axes(shape)
    if full is None or full[3] not in (1, 3):
        raise WrongChannels(
            first,
            file.name,
            f"Received an array of shape {str(shape)[:80]}; expected (images, height, width, channels), or one image, "
            f"of {' × '.join(map(str, model.shape))} (height, width, channels).",
        )
    if full[0] > model.max_images:
        raise TooManyImages(first + full[0], model.max_images)
    array: NDArray[Any] = np.frombuffer(file.content, dtype, offset=opened.tell()).reshape(full)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _add_missing_axes(shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    match shape:
        case (count, height, width, channels):
            return count, height, width, channels
        case (height, width, 1 | 3 as channels):
            return 1, height, width, channels
        case (count, height, width):
            return count, height, width, 1
        case (height, width):
            return 1, height, width, 1
    return None


def _make_wrong_size(index: int, name: str | None, size: tuple[int, int], model: ServedModel) -> WrongSize:
    height, width, _ = model.shape
    return WrongSize(
        index,
        name,
        f"Received {size[1]}×{size[0]} pixels (width × height), but the images of {model.facts.dataset} are "
        f"{width}×{height}. They were not resized at upload, so there is no rule for resizing this one. Resize it to "
        f"{width}×{height}.",
    )
