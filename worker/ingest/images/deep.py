"""PNG images with 16 bits per channel, whose values keep all bits."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

WHITE = 65535  # the largest value of 16 bits
OF_8_BITS = 257  # what one step of 8 bits is in 16
DEPTH_OFFSET, COLOUR_OFFSET = 24, 25  # in a PNG file, whose first chunk is always its header
GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6  # PNG's colour types
# Pillow's reader keeps the more significant byte of colours. The same bytes read in this way are the others: of grey
# with alpha all four bytes come at once.
_RAW_MODES = {RGB: "RGB;16L", GREY_ALPHA: "RGBA", RGB_ALPHA: "RGBA;16L"}


def is_deep(data: bytes) -> bool:
    """Return whether an image file has 16 bits per channel."""
    return data[:4] == b"\x89PNG" and data[DEPTH_OFFSET : DEPTH_OFFSET + 1] == b"\x10"


def read_deep_planes(data: bytes, image: Image.Image) -> list[Image.Image]:
    """Decode `data`, opened as `image`, to one or three channels, 0 to 65535 as floats.

    Alpha is composed over white.
    """
    kind = data[COLOUR_OFFSET]
    transparent = image.info.get("transparency")
    if kind == GREY:
        values = np.asarray(image).astype(np.float32)[..., np.newaxis]
        if isinstance(transparent, int):
            values[values == transparent] = WHITE
        return _make_planes(values, image)
    again = PngImageFile(BytesIO(data))
    again.tile = [tile._replace(args=_RAW_MODES[kind]) for tile in again.tile]
    again.load()
    low = np.asarray(again).astype(np.float32)
    if kind == GREY_ALPHA:
        values = low[..., ::2] * 256 + low[..., 1::2]
    else:
        values = np.asarray(image).astype(np.float32) * 256 + low
    if kind == RGB:
        if isinstance(transparent, tuple):
            values[np.all(values == transparent, axis=-1)] = WHITE
        return _make_planes(values, image)
    share = values[..., -1:] / WHITE
    return _make_planes(values[..., :-1] * share + WHITE * (1 - share), image)


def read_8_bit_planes(image: Image.Image) -> list[Image.Image]:
    """Return the channels of a gray or RGB image, scaled to 16 bits."""
    values = np.asarray(image).astype(np.float32) * OF_8_BITS
    return _make_planes(values.reshape(image.height, image.width, -1), image)


def convert_channels(planes: list[Image.Image], count: int) -> list[Image.Image]:
    """Convert the picture to one or three channels: gray is repeated, color becomes luma."""
    if len(planes) == count:
        return planes
    if count == 3:
        return planes * 3
    red, green, blue = (np.asarray(plane) for plane in planes)
    luma = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    return _make_planes(luma[..., np.newaxis], planes[0])


def choose_range(highest: float) -> tuple[float, float]:
    """Return the range of images whose largest value is `highest`: as many bits as it takes, but at least 8.

    Cameras and scanners with 10, 12 or 14 bits leave the upper ones of 16 empty.
    """
    bits = max(8, int(highest).bit_length())
    return 0.0, float(2**bits - 1)


def _make_planes(values: NDArray[Any], image: Image.Image) -> list[Image.Image]:
    planes = [Image.fromarray(np.ascontiguousarray(values[..., channel])) for channel in range(values.shape[2])]
    for plane in planes:
        if "exif" in image.info:  # of which the orientation counts
            plane.info["exif"] = image.info["exif"]
    return planes
