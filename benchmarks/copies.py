"""How many copies an audit finds, by how they were changed, and what it mistakes for copies.

    python -m benchmarks.copies --photographs FOLDER --drawings FOLDER --sheet FILE

Digits are always included. Photographs are cut into tiles that do not overlap; drawings are used as they are.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from analysis.arrays.dataset import SPLITS
from models.bundled import BUNDLED
from worker.ingest.audit.copies import Copies, build_relations, find_copies
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

Images = NDArray[np.uint8]

SIDE = 64
TILE = 4 * SIDE  # of a photograph, brought to SIDE
MIN_DEVIATION = 25  # of a tile's brightness: copies of a clear sky cannot be recognized
MOST = 1000  # images of a set
MARGIN = 8
SUFFIXES = {".png", ".jpg", ".jpeg"}
SHIFTS = np.array([(0, 1), (1, 0), (1, 1), (-1, 0), (0, -1), (-1, 1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, help="a folder of photographs; two come along")
    parser.add_argument("--drawings", type=Path, help="a folder of drawings of one size")
    parser.add_argument("--sheet", type=Path, help="write false pairs into this PNG file, to be looked at")
    given = parser.parse_args()
    sets = {
        "mnist5k": BUNDLED["mnist5k"].read(Path("unused")).images,
        "digits": (BUNDLED["digits"].read(Path("unused")).images * 15.9375).astype(np.uint8),
        "photographs": photographs(given.photographs),
    }
    if given.drawings:
        sets["drawings"] = drawings(given.drawings)
    sheets = []
    print(f"{'':24}" + "".join(f"{name:>14}" for name in sets))
    print(f"{'images':24}" + "".join(f"{len(images):>14,}" for images in sets.values()))
    alone = {name: found_in(images) for name, images in sets.items()}
    print(f"{'false pairs, unchanged':24}" + "".join(f"{len(copies.near):>14}" for copies in alone.values()))
    for kind, change in KINDS.items():
        cells = []
        for name, images in sets.items():
            recall, others = score(images[:MOST], change, alone[name])
            cells.append(f"{100 * recall:.1f}%" + (f" +{len(others)}" if len(others) else ""))
            sheets += [sheet_of(images[:MOST], pair) for pair in others]
        print(f"{kind:24}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    sheets += [sheet_of(sets[name], pair) for name, copies in alone.items() for pair in copies.near]
    if given.sheet and sheets:
        Image.fromarray(np.concatenate(sheets)).save(given.sheet)


def score(images: Images, change: Callable[[Images, np.random.Generator], Images], alone: Copies) -> tuple[float, list]:
    """Return the share of changed images that are matched to their originals, and the number of false pairs."""
    count, random = len(images), np.random.default_rng(0)
    changed = np.stack([change(image, random) for image in images])
    found = found_in(np.concatenate([images, changed]))
    cluster = build_relations(found, None).copy_of
    known = build_relations(alone, None).copy_of
    others = {tuple(sorted(pair)) for pair in (found.near % count).tolist() if known[pair[0]] != known[pair[1]]}
    return float(np.mean(cluster[:count] == cluster[count:])), sorted(others)


def found_in(images: Images) -> Copies:
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        pixels = Pixels.create(Path(folder, "images.npy"), images.shape, images.dtype)
        pixels.write(0, np.ascontiguousarray(images).tobytes())
        rows = np.arange(len(images))
        splits = dict(zip(SPLITS, (rows[:-2], rows[-2:-1], rows[-1:]), strict=True))
        dataset = IngestedDataset(pixels, np.zeros(len(rows), np.int32), splits, ("0",), [""] * len(rows), (0, 255))
        pool = ProcessPool(1)
        return find_copies(dataset, scan(dataset, pool), pool)


def sheet_of(images: Images, pair: tuple[int, int]) -> Images:
    both = [Image.fromarray(np.squeeze(images[row])).convert("RGB").resize((SIDE, SIDE)) for row in pair]
    return np.concatenate([np.asarray(one) for one in both], axis=1)


# --- images --------------------------------------------------------------------------------------


def photographs(folder: Path | None) -> Images:
    """Cut tiles that do not overlap, leaving out those with hardly any contrast: (count, SIDE, SIDE, 3)."""
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    sources += [Image.open(path).convert("RGB") for path in files_in(folder)]
    tiles = []
    for source in sources:
        tile = min(TILE, min(source.size) // 3)
        for top in range(0, source.height - tile + 1, tile):
            for left in range(0, source.width - tile + 1, tile):
                box = (left, top, left + tile, top + tile)
                small = source.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
                if np.asarray(small.convert("L")).std() > MIN_DEVIATION:
                    tiles.append(np.asarray(small))
    return np.stack(tiles)[np.random.default_rng(0).permutation(len(tiles))][:MOST]


def drawings(folder: Path) -> Images:
    """Put the images of a folder on white: (count, SIDE, SIDE, 3)."""
    paths = files_in(folder)
    found = []
    for number in np.random.default_rng(0).permutation(len(paths))[:MOST].tolist():
        drawing = Image.open(paths[number]).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        white = Image.new("RGBA", drawing.size, "white")
        white.alpha_composite(drawing)
        found.append(np.asarray(white.convert("RGB")))
    return np.stack(found)


def files_in(folder: Path | None) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder else []


# --- changes -------------------------------------------------------------------------------------


def as_image(values: Images) -> Image.Image:
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def jpeg(values: Images, quality: int) -> Images:
    file = io.BytesIO()
    as_image(values).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(values.shape)


def brightened(values: Images, factor: float, levels: float) -> Images:
    return np.clip(values * float(factor) + levels, 0, 255).round().astype(np.uint8)


def noisy(values: Images, random: np.random.Generator) -> Images:
    return np.clip(values + random.normal(0, 4, values.shape), 0, 255).round().astype(np.uint8)


def shifted(values: Images, random: np.random.Generator, by: int) -> Images:
    down, right = by * SHIFTS[random.integers(len(SHIFTS))]
    height, width, _ = values.shape
    return padded(values)[MARGIN - down :, MARGIN - right :][:height, :width]


def scaled(values: Images, factor: float) -> Images:
    height, width, _ = values.shape
    down, right = MARGIN + height / 2 * (1 - 1 / factor), MARGIN + width / 2 * (1 - 1 / factor)
    box = (right, down, right + width / factor, down + height / factor)
    resized = as_image(padded(values)).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized).reshape(values.shape)


def cropped(values: Images, random: np.random.Generator, share: float) -> Images:
    """Cut rows and columns off one side or both, and restore the size."""
    height, width, _ = values.shape
    lost = max(1, round(share * height))
    left, top = random.integers(0, lost + 1, 2).tolist()
    box = (left, top, width - (lost - left), height - (lost - top))
    return np.asarray(as_image(values).resize((width, height), Image.Resampling.BICUBIC, box=box)).reshape(values.shape)


def padded(values: Images) -> Images:
    return np.pad(values, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")


KINDS: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    "as it is": lambda values, random: values,
    "JPEG, quality 75": lambda values, random: jpeg(values, 75),
    "JPEG, quality 50": lambda values, random: jpeg(values, 50),
    "noise of 4 levels": noisy,
    "6 levels brighter": lambda values, random: brightened(values, 1, 6),
    "30 levels brighter": lambda values, random: brightened(values, 1, 30),
    "20% darker": lambda values, random: brightened(values, 0.8, 0),
    "shifted by 1": lambda values, random: shifted(values, random, 1),
    "shifted by 2": lambda values, random: shifted(values, random, 2),
    "shifted by 3": lambda values, random: shifted(values, random, 3),
    "shifted by 1, brighter": lambda values, random: brightened(shifted(values, random, 1), 1, 6),
    "shifted by 1, JPEG 75": lambda values, random: jpeg(shifted(values, random, 1), 75),
    "mirrored": lambda values, random: values[:, ::-1],
    "mirrored, shifted by 1": lambda values, random: shifted(values[:, ::-1], random, 1),
    "mirrored, JPEG 75": lambda values, random: jpeg(np.ascontiguousarray(values[:, ::-1]), 75),
    "5% larger": lambda values, random: scaled(values, 1.05),
    "10% larger": lambda values, random: scaled(values, 1.1),
    "10% smaller": lambda values, random: scaled(values, 0.9),
    "cropped by 5%": lambda values, random: cropped(values, random, 0.05),
    "cropped by 10%": lambda values, random: cropped(values, random, 0.1),
}

if __name__ == "__main__":
    main()
