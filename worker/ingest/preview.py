"""Contact sheets: some images of each class as one PNG, so that a person sees what was uploaded."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.arrays.pictures import tile, tile_size
from worker.ingest.audit.dataset import IngestedDataset

COLUMNS, ROWS = 10, 4
GAP = 2
BACKGROUND = (128, 128, 128)


def write_previews(folder: Path, dataset: IngestedDataset) -> None:
    """Write `<class>.png` for each class, numbered from 0: at most 40 images, train first, evenly chosen.

    A class without images has a sheet without tiles.
    """
    folder.mkdir()
    order = np.lexsort((dataset.split_of, dataset.labels))
    ends = np.cumsum(np.bincount(dataset.labels, minlength=len(dataset.classes)))
    for label, rows in enumerate(np.split(order, ends[:-1])):
        chosen = (
            rows[np.unique(np.linspace(0, len(rows) - 1, COLUMNS * ROWS).round().astype(np.int64))]
            if len(rows)
            else rows
        )
        contact_sheet(dataset.pixels.take(chosen), dataset.value_range).save(folder / f"{label}.png")


def contact_sheet(images: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    """Images (count, height, width, channels) side by side, in rows of ten."""
    count, height, width, _ = images.shape
    (tile_width, tile_height), _ = tile_size(height, width)
    rows = max(1, -(-count // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (tile_width + GAP) + GAP, rows * (tile_height + GAP) + GAP), BACKGROUND)
    for place, image in enumerate(images):
        row, column = divmod(place, COLUMNS)
        at = GAP + column * (tile_width + GAP), GAP + row * (tile_height + GAP)
        sheet.paste(tile(image, value_range), at)
    return sheet
