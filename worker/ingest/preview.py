"""Contact sheets: some images of each class as one PNG, so that a person sees what was uploaded."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.ingest.audit.subject import Subject

COLUMNS, ROWS = 10, 4
TILE = 64  # pixels of the longer side, about; small images are enlarged by whole factors
GAP = 2
BACKGROUND = (128, 128, 128)


def write_previews(folder: Path, subject: Subject) -> None:
    """Write `<class>.png` for each class, numbered from 0: at most 40 images, train first, evenly chosen.

    A class without images has a sheet without tiles.
    """
    folder.mkdir()
    order = np.lexsort((subject.split_of, subject.labels))
    ends = np.cumsum(np.bincount(subject.labels, minlength=len(subject.classes)))
    for label, rows in enumerate(np.split(order, ends[:-1])):
        chosen = (
            rows[np.unique(np.linspace(0, len(rows) - 1, COLUMNS * ROWS).round().astype(np.int64))]
            if len(rows)
            else rows
        )
        contact_sheet(subject.pixels.take(chosen), subject.value_range).save(folder / f"{label}.png")


def contact_sheet(images: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    """Images (count, height, width, channels) side by side, in rows of ten."""
    count, height, width, channels = images.shape
    low, high = value_range
    shades = ((images.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    factor = TILE / max(height, width)
    factor = float(max(1, int(factor))) if factor >= 1 else factor
    tile = max(1, round(width * factor)), max(1, round(height * factor))
    rows = max(1, -(-count // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (tile[0] + GAP) + GAP, rows * (tile[1] + GAP) + GAP), BACKGROUND)
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BILINEAR
    for place, image in enumerate(shades):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image).resize(tile, how)
        row, column = divmod(place, COLUMNS)
        sheet.paste(picture, (GAP + column * (tile[0] + GAP), GAP + row * (tile[1] + GAP)))
    return sheet
