"""How many copies across splits features find besides an ingest, by how they were changed; and what they mistake.

    python -m benchmarks.feature_copies --zoo NAME … --photographs FILE.zip …

The sets of the zoo are in the folder that `HELDOUT_ZOO` names. A zip has a folder for each class, or one for each split
with those in it. Groups stay in one split. Then changed copies of training images are added to test. `today` is the
share that an ingest finds.
"""

import argparse
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from analysis.arrays.dataset import SPLITS, ImageSet
from analysis.arrays.features import normalize
from benchmarks.copies import as_image, jpeg
from benchmarks.zoo.manifest import load_built
from models.pretrained import PRETRAINED
from worker.ingest.audit.copies import build_relations
from worker.ingest.audit.copies import find_copies as find_at_ingest
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.training.looks.compute import choose_size, make_compute
from worker.training.looks.copies import find_copies
from worker.training.pretrained.efficientnet_lite import build_with
from worker.training.pretrained.torch_file import read_tensors

Images = NDArray[np.uint8]
Change = Callable[[Images, np.random.Generator], Images]

MOST, PLANTED, HELD_OUT = 1_200, 60, 0.3
SIDE = 128  # of photographs in a zip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", nargs="*", default=[], help="names of built sets")
    parser.add_argument("--photographs", nargs="*", type=Path, default=[], help="zips of photographs")
    parser.add_argument("--sheet", type=Path, help="write false pairs into this PNG file, to be looked at")
    given = parser.parse_args()
    network = build_with(read_tensors(PRETRAINED["efficientnet_lite0"].find_file()))
    pooled = keras.Model(network.input, keras.layers.GlobalAveragePooling2D()(network.output))
    sheets: list[Images] = []
    print("| set | images | seconds of one core | " + " | ".join(KINDS) + " | false pairs |")
    print("|---" * (4 + len(KINDS)) + "|")
    for name, images, labels, groups in read_sets(given.zoo, given.photographs):
        print(measure(name, images, labels, groups, pooled, sheets), flush=True)
    if given.sheet and sheets:
        Image.fromarray(np.concatenate(sheets)).save(given.sheet)


def read_sets(
    zoo: list[str], photographs: list[Path]
) -> Iterator[tuple[str, Images, NDArray[np.int32], NDArray[np.int32]]]:
    """Yield name, images, labels and groups of each set, at most MOST images of it."""
    for name in zoo:
        built = load_built(name)
        rows = np.sort(np.random.default_rng(0).permutation(len(built.labels))[:MOST])
        yield name, built.images[rows], built.labels[rows], built.groups[rows]
    for file in photographs:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.namelist() if member.lower().endswith((".jpg", ".jpeg", ".png"))]
            members = sorted(np.random.default_rng(0).permutation(members)[:MOST].tolist())
            opened = [Image.open(io.BytesIO(archive.read(member))).convert("RGB") for member in members]
            classes = [member.split("/")[-2] for member in members]
        images = np.stack([np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)) for picture in opened])
        labels = np.unique(classes, return_inverse=True)[1].astype(np.int32)
        yield file.stem, images, labels, np.arange(len(labels), dtype=np.int32)


def measure(
    name: str,
    images: Images,
    labels: NDArray[np.int32],
    groups: NDArray[np.int32],
    network: keras.Model,
    sheets: list[Images],
) -> str:
    """Plant copies of each kind in test, and return a line of the table."""
    draws = np.random.default_rng(0)
    known = draws.permutation(np.unique(groups))
    is_held = np.isin(groups, known[: max(1, round(HELD_OUT * len(known)))])
    training, count = np.flatnonzero(~is_held), len(labels)
    parts, sources = [images], []
    for change in KINDS.values():
        chosen = draws.permutation(training)[:PLANTED]
        parts.append(np.stack([change(image, draws) for image in images[chosen]]))
        sources.append(chosen)
    source, every = np.concatenate(sources), np.concatenate(parts)
    of_test = np.concatenate([np.flatnonzero(is_held), np.arange(count, len(every))])
    splits = dict(zip(SPLITS, (training, of_test[:0], of_test), strict=True))
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    planted = ImageSet(every, np.concatenate([labels, labels[source]]), splits, classes, (0, 255))
    at_ingest = find_today(planted)
    rows = np.arange(len(every))
    compute = make_compute(network, planted, rows, choose_size(*planted.shape[:2]), threads=2)
    padded = np.pad(rows, (0, -len(rows) % 32), mode="edge").astype(np.int32)
    features = np.concatenate([compute(padded[at : at + 128]) for at in range(0, len(padded), 128)])[: len(rows)]
    began = process_time()
    # As if an ingest had found nothing, so that each kind counts in full.
    found = find_copies(planted, rows, normalize(features), rows)
    seconds = process_time() - began
    origin = np.concatenate([np.arange(count), source])
    is_true = origin[found.pairs[:, 0]] == origin[found.pairs[:, 1]]
    joined = np.zeros(len(every), bool)
    joined[found.pairs[is_true, 0]] = True
    # Windows of one picture overlap, and are copies too.
    of_group = groups[origin]
    false = [tuple(pair) for pair in found.pairs.tolist() if of_group[pair[0]] != of_group[pair[1]]]
    sheets += [np.concatenate([show(every[row]) for row in pair], axis=1) for pair in false]
    cells = []
    for number in range(len(KINDS)):
        of_kind = slice(count + number * len(sources[0]), count + (number + 1) * len(sources[0]))
        today = np.mean(at_ingest[of_kind] == at_ingest[sources[number]])
        both = np.mean(joined[of_kind] | (at_ingest[of_kind] == at_ingest[sources[number]]))
        cells.append(f"{today:.0%} → {both:.0%}")
    of_clean = len({pair for pair in false if max(pair) < count})
    return (
        f"| {name} | {count:,} | {seconds:.0f} | "
        + " | ".join(cells)
        + f" | {of_clean} of {int(is_held.sum()):,}, {len(false) - of_clean} planted |"
    )


def find_today(data: ImageSet) -> NDArray[np.int32]:
    """Return the clusters of copies that an ingest finds."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        pixels = Pixels.create(Path(folder, "images.npy"), data.images.shape, data.images.dtype)
        pixels.write(0, np.ascontiguousarray(data.images).tobytes())
        dataset = IngestedDataset(pixels, data.labels, data.splits, data.classes, [""] * len(data.labels), (0, 255))
        pool = ProcessPool(1)
        return build_relations(find_at_ingest(dataset, scan(dataset, pool), pool), None).copy_of


def show(image: Images) -> Images:
    return np.asarray(as_image(image).convert("RGB").resize((SIDE, SIDE)))


# --- changes -------------------------------------------------------------------------------------


def crop(values: Images, draws: np.random.Generator, share: float) -> Images:
    """Keep this share of the sides, from a random place, and restore the size."""
    height, width, _ = values.shape
    top, left = (draws.random() * (1 - share) * side for side in (height, width))
    box = (left, top, left + share * width, top + share * height)
    resized = as_image(values).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized).reshape(values.shape)


def recolor(values: Images, degrees: int) -> Images:
    """Turn the hues."""
    if values.shape[2] == 1:
        return np.clip(255 * (values / 255.0) * 0.7 + 40, 0, 255).astype(np.uint8)
    hsv = np.array(Image.fromarray(values).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 360 * 256)) % 256
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def gray(values: Images) -> Images:
    return np.repeat(np.asarray(as_image(values).convert("L"))[..., None], values.shape[2], axis=2)


def warm(values: Images) -> Images:
    """More red, less blue, more contrast."""
    tint = np.array([1.15, 1.0, 0.75] if values.shape[2] == 3 else [0.85])
    tinted = np.clip(values * tint, 0, 255).astype(np.uint8)
    return np.asarray(ImageEnhance.Contrast(as_image(tinted)).enhance(0.8)).reshape(values.shape)


KINDS: dict[str, Change] = {
    "turned by 90°": lambda values, draws: np.rot90(values),
    "turned by 180°": lambda values, draws: np.rot90(values, 2),
    "turned by 270°, JPEG 75": lambda values, draws: jpeg(np.ascontiguousarray(np.rot90(values, 3)), 75),
    "cropped to 70%": lambda values, draws: crop(values, draws, 0.7),
    "cropped to 50%": lambda values, draws: crop(values, draws, 0.5),
    "cropped to 70%, JPEG 75": lambda values, draws: jpeg(crop(values, draws, 0.7), 75),
    "hues turned by 60°": lambda values, draws: recolor(values, 60),
    "gray": lambda values, draws: gray(values),
    "warmer": lambda values, draws: warm(values),
    "JPEG 20": lambda values, draws: jpeg(values, 20),
    "JPEG 10": lambda values, draws: jpeg(values, 10),
}

if __name__ == "__main__":
    main()
