"""From what a client sends to the pixels that a model takes, as the ingest brought the dataset's own images there.

An image file is decoded by the ingest's own decoders, within its limits: orientation, colours, depth and size follow
the same rules (docs/reference/images.md). An array has to be of the dataset's type and range already.
"""

from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile as OpenedImage

from analysis.arrays.npy_header import read_npy_header
from heldout.errors import ImageRefused, TooManyImages, WrongChannels, WrongDtype, WrongRange, WrongSize
from predict.model import ServedModel
from predict.work import Pieces
from worker.ingest.images.blocks import USUAL_RANGES, convert_block_channels, resize_block
from worker.ingest.images.decode import ColourFound, DepthFound, OtherSize, TargetShape, decode, open_image
from worker.ingest.images.deep import WHITE, is_deep
from worker.ingest.limits import IngestLimits
from worker.ingest.rejection import Rejection

NPY_MAGIC = b"\x93NUMPY"
LIMITS = IngestLimits()
# What decoding takes of memory: by one image, and by all of a request, one after the other, which is some seconds.
MAX_DECODE_BYTES, MAX_DECODE_BYTES_TOGETHER = 512 * 1024**2, 2 * 1024**3
# A file of more bytes is opened and decoded in a thread; so is a PNG with parts that unpack to any size.
SHORT_PNG_BYTES, SHORT_NPY_BYTES = 65_536, 1024**2
PNG_MAGIC = b"\x89PNG"
PACKED = (b"zTXt", b"iTXt", b"iCCP")
# What a pixel takes of it, as measured, and what the kind of image adds.
BYTES_A_PIXEL, WITH_ALPHA, OF_WEBP, OF_16_BITS = 10, 14, 10, 80

# Of an array so much is brought to the model's size at once.
PIXELS_AT_ONCE = 1024**2

# uint8 or float32, as the dataset stores them.
Pixels = NDArray[Any]


@dataclass(frozen=True)
class SentFile:
    """A file that a client has sent: an image, or an `.npy` of one or several. name: None where it has none."""

    content: bytes
    name: str | None = None


@dataclass
class OpenedFiles:
    """Files of a request, each with what its header says: an image without its pixels, or an array as it was sent.

    images: how many are in the files. pixels: of all that are decoded or resized. memory_bytes: about what bringing
    them to the model's size takes beside the result.
    """

    files: list[tuple[SentFile, OpenedImage | Pixels]]
    images: int = 0
    pixels: int = 0
    memory_bytes: int = 0


def is_small(file: SentFile) -> bool:
    """Whether its header is read sooner than a thread has begun."""
    content = file.content
    if content.startswith(NPY_MAGIC):
        return len(content) <= SHORT_NPY_BYTES
    if len(content) > SHORT_PNG_BYTES or not content.startswith(PNG_MAGIC):
        return False
    return not any(part in content for part in PACKED)


def open_files(files: list[SentFile], model: ServedModel) -> Pieces[OpenedFiles]:
    """Raises ImageRefused, WrongSize, WrongChannels, WrongDtype, TooManyImages."""
    if len(files) > model.max_images:
        raise TooManyImages(len(files), model.max_images)
    opened = OpenedFiles([])
    of_arrays = of_largest_image = of_images = 0
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
            count, pixels = 1, content.width * content.height
            decode_bytes = _decode_bytes(file, content)
            of_largest_image, of_images = max(of_largest_image, decode_bytes), of_images + decode_bytes
            if decode_bytes > MAX_DECODE_BYTES or of_images > MAX_DECODE_BYTES_TOGETHER:
                raise _make_too_much_to_decode(opened.images, file.name, content.size, decode_bytes)
        opened.files.append((file, content))
        opened.images += count
        opened.pixels += pixels
        if opened.images > model.max_images:
            raise TooManyImages(opened.images, model.max_images)
    opened.memory_bytes = of_arrays + of_largest_image
    return opened


def read_pixels(opened: OpenedFiles, model: ServedModel) -> Pieces[tuple[Pixels, list[str | None]]]:
    """All images in order, (images, height, width, channels) of the dataset's type, and the name of each one's file.

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
    """Raises WrongRange if a value is not finite, or outside of a range that the dataset's images all have."""
    low, high = model.range
    if pixels.dtype == np.uint8 and (low, high) == (0, 255):
        return
    if not _is_bound(model):
        low, high = -np.inf, np.inf  # what the dataset's images happen to have; others may have more
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
        f"Received a pixel of {worst:g}; the dataset's pixels go from {low:g} to {high:g}. Scale the image as the "
        "uploaded ones were.",
    )


def _is_bound(model: ServedModel) -> bool:
    return model.facts.dtype == np.uint8 or model.range in USUAL_RANGES or _get_white(model) is not None


def _get_white(model: ServedModel) -> float | None:
    """The value of white in a dataset of whole numbers that are stored as float32; None for other datasets."""
    low, high = model.range
    return high if low == 0 and high >= 255 and (int(high) + 1).bit_count() == 1 else None


def _open_image(file: SentFile, index: int, model: ServedModel) -> OpenedImage:
    """Raises ImageRefused, WrongDtype, WrongSize."""
    if model.facts.dtype == np.float32 and _get_white(model) is None:
        low, high = model.range
        raise WrongDtype(
            index,
            file.name,
            f"Received an image file; the dataset's pixels are float32 from {low:g} to {high:g}, which no image file "
            "has. Send an .npy of float32 that was made as the uploaded arrays were.",
        )
    try:
        image = open_image(file.content, file.name or f"image {index + 1}", LIMITS)
    except Rejection as rejection:
        raise ImageRefused(index, file.name, rejection.detail) from None
    # Which side is which its orientation says, and that is read with the pixels.
    if model.facts.resize is None and sorted(image.size) != sorted(model.shape[:2]):
        raise _make_wrong_size(index, file.name, (image.height, image.width), model)
    return image


def _decode_bytes(file: SentFile, image: OpenedImage) -> int:
    """About the most memory that it takes to decode the image."""
    a_pixel = BYTES_A_PIXEL
    if is_deep(file.content):
        a_pixel = OF_16_BITS
    elif image.has_transparency_data:
        a_pixel += WITH_ALPHA
    if image.format == "WEBP":
        a_pixel += OF_WEBP
    return a_pixel * image.width * image.height


def _make_too_much_to_decode(index: int, name: str | None, size: tuple[int, int], decode_bytes: int) -> ImageRefused:
    received = f"Received {size[0]:,}×{size[1]:,} pixels, which take {decode_bytes >> 20:,} MiB to decode"
    if decode_bytes > MAX_DECODE_BYTES:
        advice = f"at most {MAX_DECODE_BYTES >> 20:,} are there. Make it smaller, or save it without transparency"
        return ImageRefused(index, name, f"{received}; {advice} and with 8 bits a channel.")
    return ImageRefused(
        index,
        name,
        f"{received}; with those before it that is more than the {MAX_DECODE_BYTES_TOGETHER >> 20:,} MiB for one "
        "request. Send the images in several requests, or make them smaller.",
    )


def _read_image(file: SentFile, opened: OpenedImage, index: int, model: ServedModel) -> Pixels:
    facts, (height, width, channels) = model.facts, model.shape
    white = _get_white(model)
    bits: Literal[8, 16] = 8 if facts.dtype == np.uint8 else 16
    rule = None if facts.resize is None else facts.resize.rule
    wanted = TargetShape(height, width, 1 if channels == 1 else 3, rule, bits)
    try:
        content = decode(
            file.content,
            file.name or f"image {index + 1}",
            wanted,
            LIMITS,
            Counter(),
            any_grey=facts.any_grey,
            opened=opened,
        )
    except Rejection as rejection:
        raise ImageRefused(index, file.name, rejection.detail) from None
    except OtherSize as other:
        raise _make_wrong_size(index, file.name, other.size, model) from None
    except ColourFound:
        raise WrongChannels(
            index, file.name, "Received an image with colours; the dataset's are grey. Send it in grey."
        ) from None
    except DepthFound:
        raise WrongDtype(
            index, file.name, "Received 16 bits a channel; the dataset's images have 8. Save it with 8 bits."
        ) from None
    pixels: Pixels = np.frombuffer(content, facts.dtype).reshape(model.shape)
    if bits == 16 and white is not None and not is_deep(file.content):
        pixels = pixels * np.float32(white / WHITE)
    require_range(pixels[np.newaxis], index, file.name, model)
    return pixels


def _read_array(file: SentFile, block: Pixels, first: int, model: ServedModel) -> Pixels:
    if model.facts.dtype == np.float32 and block.dtype in (np.float64, np.uint16, np.uint8):
        with np.errstate(over="ignore"):  # what is no float32 becomes infinite, and is refused as that
            block = block.astype(np.float32)
    if block.dtype != model.facts.dtype:
        low, high = model.range
        hint = " Multiply pixels from 0 to 1 by 255 and round them first." if block.dtype.kind == "f" else ""
        raise WrongDtype(
            first,
            file.name,
            f"Received {block.dtype}; the dataset's pixels are {model.facts.dtype} from {low:g} to {high:g}.{hint}",
        )
    height, width, channels = model.shape
    if block.shape[3] != channels and not (channels == 3 or model.facts.any_grey):
        raise WrongChannels(
            first, file.name, f"Received {block.shape[3]} channels; the dataset's images have {channels}."
        )
    if block.shape[1:3] != (height, width) and model.facts.resize is None:
        raise _make_wrong_size(first, file.name, (block.shape[1], block.shape[2]), model)
    require_range(block, first, file.name, model)
    return resize_block(convert_block_channels(block, channels), model.facts.resize, model.range[0]).astype(
        model.facts.dtype, copy=False
    )


def _load_array(file: SentFile, first: int, model: ServedModel) -> NDArray[Any]:
    """(images, height, width, channels) of an `.npy`; of one image, or of grey ones, it may have fewer axes."""
    opened = BytesIO(file.content)
    try:
        shape, is_fortran, dtype = read_npy_header(opened)
    except ValueError:
        raise ImageRefused(
            first, file.name, "Received an .npy whose header cannot be read. Save it with numpy.save."
        ) from None
    if dtype.hasobject or dtype.itemsize == 0 or dtype.kind not in "uif":
        raise WrongDtype(
            first, file.name, f"Received values of type {str(dtype)[:40]}; expected {model.facts.dtype} in an .npy."
        )
    has = len(file.content) - opened.tell()
    if min(shape, default=1) < 1:
        raise ImageRefused(first, file.name, f"Received an .npy of shape {str(shape)[:80]}; it holds no image.")
    if prod(shape) * dtype.itemsize != has or (is_fortran and len(shape) > 1):
        what = (
            "is stored column by column" if is_fortran else f"says {prod(shape) * dtype.itemsize:,} bytes, has {has:,}"
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
        f"Received {size[1]}×{size[0]} pixels (width × height); the images of {model.facts.dataset} are "
        f"{width}×{height} and were not resized when they were uploaded, so it is not known how to resize this one. "
        "Bring it to that size.",
    )
