"""Contact sheets: some images of each class as one PNG, so that a person sees what was uploaded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heldout.stored.audit import AuditFinding
from worker.ingest.audit.dataset import IngestedDataset

COLUMNS, ROWS = 10, 4
TILE = 64  # pixels of the longer side, about; small images are enlarged by whole factors
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


def write_examples(folder: Path, dataset: IngestedDataset, findings: Iterable[AuditFinding]) -> None:
    """Write `<index>.png` for each image that a finding has as an example, as large as on a contact sheet."""
    folder.mkdir(parents=True)
    rows = sorted({example.index for finding in findings for example in finding.examples})
    for row in rows:
        [image] = dataset.pixels.take(np.array([row]))
        _tile(image, dataset.value_range).save(folder / f"{row}.png")


def contact_sheet(images: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    """Images (count, height, width, channels) side by side, in rows of ten."""
    count, height, width, _ = images.shape
    tile, _ = _tile_size(height, width)
    rows = max(1, -(-count // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (tile[0] + GAP) + GAP, rows * (tile[1] + GAP) + GAP), BACKGROUND)
    for place, image in enumerate(images):
        row, column = divmod(place, COLUMNS)
        at = GAP + column * (tile[0] + GAP), GAP + row * (tile[1] + GAP)
        sheet.paste(_tile(image, value_range), at)
    return sheet


def _tile(image: NDArray[Any], value_range: tuple[float, float]) -> Image.Image:
    height, width, channels = image.shape
    low, high = value_range
    shades = ((image.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    picture = Image.fromarray(shades[..., 0] if channels == 1 else shades)
    size, is_enlarged = _tile_size(height, width)
    return picture.resize(size, Image.Resampling.NEAREST if is_enlarged else Image.Resampling.BILINEAR)


def _tile_size(height: int, width: int) -> tuple[tuple[int, int], bool]:
    """(width, height) of a tile, and whether it is the image's pixels enlarged."""
    factor = TILE / max(height, width)
    if factor >= 1:
        return (width * int(factor), height * int(factor)), True
    return (max(1, round(width * factor)), max(1, round(height * factor))), False
