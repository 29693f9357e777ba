"""Images of a dataset as pictures that a person can look at."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 64  # approximate pixels of the longer side on a contact sheet
ALONE = 192  # maximum pixels of the longer side of a single image


def draw_tile(image: NDArray[Any], value_range: tuple[float, float], side: int = TILE) -> Image.Image:
    """Turn an image (height, width, channels) into a picture whose longer side has about `side` pixels.

    A smaller image is enlarged by a whole factor, so that its pixels stay sharp.
    """
    height, width, channels = image.shape
    low, high = value_range
    shades = ((image.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    picture = Image.fromarray(shades[..., 0] if channels == 1 else shades)
    size, is_enlarged = compute_tile_size(height, width, side)
    return picture.resize(size, Image.Resampling.NEAREST if is_enlarged else Image.Resampling.BILINEAR)


def compute_tile_size(height: int, width: int, side: int = TILE) -> tuple[tuple[int, int], bool]:
    """Return (width, height) of a tile, and whether it enlarges the image's pixels."""
    factor = side / max(height, width)
    if factor >= 1:
        return (width * int(factor), height * int(factor)), True
    return (max(1, round(width * factor)), max(1, round(height * factor))), False


def encode_png(image: NDArray[Any], value_range: tuple[float, float], side: int = ALONE) -> bytes:
    """Return a single image as a PNG, whose longer side has at most `side` pixels."""
    content = io.BytesIO()
    draw_tile(image, value_range, side).save(content, "PNG")
    return content.getvalue()


def embed_png(png: bytes) -> str:
    """Return a PNG as an address that a page shows without loading anything."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
