"""Heatmaps of images: their file, and their pictures over the images."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.arrays.pictures import ALONE, draw_tile

HEATMAP_FILE = "heatmap.npz"
# How far the strongest place of a map covers the image, and how much darker the image is elsewhere.
_COVER, _DIM = 0.75, 0.7
_GAP = 4  # pixels between two pictures


def save_maps(maps: NDArray[np.float32], file: Path) -> None:
    """Write maps, (classes, rows, columns)."""
    np.savez(file, maps=maps)


def read_maps(content: bytes) -> NDArray[np.float32]:
    """Read what `save_maps` has written."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        maps: NDArray[np.float32] = arrays["maps"]
    if maps.ndim != 3:
        raise ValueError(f"Received maps of shape {maps.shape}; expected (classes, rows, columns).")
    return maps


def enlarge(heat: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return a map (rows, columns) at another size, from 0 to 1 at its strongest place; all 0 if it has none."""
    strongest = float(np.max(heat))
    scaled = heat / strongest if strongest > 0 else heat
    return np.asarray(Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def draw_heatmaps(image: NDArray[Any], value_range: tuple[float, float], maps: Sequence[NDArray[np.float32]]) -> bytes:
    """Draw each map over the image in grey, from dark to red to yellow, from left to right. Returns a PNG.

    Args:
        image: (height, width, channels).
        maps: (rows, columns) each.
    """
    grey = draw_tile(image, value_range, ALONE).convert("L")
    width, height = grey.size
    shades = np.asarray(grey, np.float32)[..., np.newaxis] * _DIM
    sheet = Image.new("RGB", (len(maps) * (width + _GAP) - _GAP, height), "white")
    for number, heat in enumerate(maps):
        strength = enlarge(heat, width, height)
        color = np.stack([np.full_like(strength, 255), 255 * (2 * strength - 1).clip(0, 1), 0 * strength], axis=-1)
        cover = _COVER * strength[..., np.newaxis]
        mixed = (1 - cover) * shades + cover * color
        sheet.paste(Image.fromarray(mixed.round().astype(np.uint8)), (number * (width + _GAP), 0))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()
