"""Converts arrays of images, (count, height, width, channels), to the channels and size of a dataset."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from heldout.spec.dataset import ResizeSpec

# The usual ranges of pixels: the first that holds all values is assumed.
USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


def convert_block_channels(block: NDArray[Any], channels: int) -> NDArray[Any]:
    """Convert images to one or three channels: gray is repeated, color becomes luma."""
    if block.shape[3] == channels:
        return block
    if channels == 3:
        return np.repeat(block, 3, axis=3)
    if block.dtype == np.uint8:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in block])[..., np.newaxis]
    grey: NDArray[Any] = block @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return grey


def resize_block(block: NDArray[Any], wanted: ResizeSpec | None, black: float) -> NDArray[Any]:
    """Resize images to the wanted size, channel by channel, bilinear; bars of `pad` have the value `black`."""
    if wanted is None or block.shape[1:3] == (wanted.height, wanted.width):
        return block
    size, bilinear = (wanted.width, wanted.height), Image.Resampling.BILINEAR

    def resize_channel(channel: NDArray[Any]) -> NDArray[Any]:
        image = Image.fromarray(channel)
        if wanted.rule == "stretch":
            return np.asarray(image.resize(size, bilinear))
        if wanted.rule == "crop":
            return np.asarray(ImageOps.fit(image, size, bilinear))
        return np.asarray(ImageOps.pad(image, size, bilinear, color=int(black) if channel.dtype == np.uint8 else black))  # type: ignore[arg-type]

    return np.stack(
        [np.stack([resize_channel(channel) for channel in image.transpose(2, 0, 1)], axis=2) for image in block]
    )
