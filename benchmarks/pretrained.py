"""What pretrained features add on small sets: the preset `photos` against `regularized`, on the same images and seeds.

`HELDOUT_ZOO=FOLDER python -m benchmarks.pretrained PHOTOS [SET…]` trains both on a service of its own. PHOTOS has
`clothes.zip` and `hand-signs.zip`. The other sets are open ones of the zoo, and `mnist5k`. Each training prints a line
of JSON when it ends, and the table comes last. Each seed draws its own images, and each job measures test once.
The rule for which the remedy `pretrained` is proposed was chosen on `LIKE_PHOTOGRAPHS` and `OTHERS`, and checked on
`CHECKED`, with one seed each.
"""

import io
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from statistics import mean
from time import sleep
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from analysis.arrays.dataset import ImageSet
from analysis.arrays.folds import choose_stratified
from benchmarks.features import Service
from benchmarks.zoo.cuts import Cut, cut_of
from benchmarks.zoo.data import MOST_SHUFFLES, find_fullest, folds_of
from benchmarks.zoo.draw import open_set
from heldout.cli.spec_files import Preset, get_spec
from heldout.client.client import Client
from heldout.spec.pretrained import PRETRAINED_MODEL, shows_photographs
from models.bundled import BUNDLED

Splits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]

SEEDS = range(3)
MOST = {"train": 500, "validation": 200, "test": 1_000}
SIZE = 128, 128  # of the photographs of archives, which are padded
LIKE_PHOTOGRAPHS = ("clothes", "hand_signs", "photo_large", "photo_tiles", "materials")
OTHERS = ("emoji_vendors", "wesnoth_units", "playing_cards", "hangul_syllables", "icon_families", "mnist5k")
CHECKED = (
    "photo_squares", "game_textures", "flags_countries", "flags_continents", "game_art", "clipart", "theme_icons",
    "walkers", "pointers", "mahjong_tiles", "emoji_skins", "emoji_genders", "captcha_letters", "tamil_letters",
    "typed_signs", "braille_dots", "brain_slices", "wesnoth_terrain",
)  # fmt: skip
HEAD = "| set | image | test images | `regularized` | `photos` | difference, each seed | seconds | proposed |"


def main(photos: Path, names: list[str]) -> None:
    """Train both presets on each set, and print the table."""
    names, lines = names or [*LIKE_PHOTOGRAPHS, *OTHERS], [HEAD, "|---" * 8 + "|"]
    with Service(2**30) as service, Client(service.url, service.api_key, patience_s=60) as client:
        while not any(model.name == PRETRAINED_MODEL and model.status == "ready" for model in client.models.list()):
            sleep(0.5)  # a worker converts the weights once
        for name in names:
            seeds = SEEDS[:1] if name in CHECKED else SEEDS
            lines.append(tabulate(name, [train(client, name, read_splits(name, photos, seed), seed) for seed in seeds]))
    print("\n".join(lines))


def read_splits(name: str, photos: Path, seed: int) -> Splits:
    """Read all images of a set by split. Sets without published splits are divided by their groups, or at random."""
    if name == "clothes":
        return read_archive(photos / "clothes.zip")
    if name == "hand_signs":
        ((images, labels),) = read_archive(photos / "hand-signs.zip").values()
        parts = np.split(np.random.default_rng(seed).permutation(len(labels)), [800, 1_000])
        return {split: (images[rows], labels[rows]) for split, rows in zip(MOST, parts, strict=True)}
    if name in BUNDLED:
        cut: ImageSet | Cut = BUNDLED[name].read(Path())
    else:
        built, folds = open_set(name), folds_of(name)
        cut = find_fullest(cut_of(built, folds, number) for number in range(seed, MOST_SHUFFLES, len(SEEDS)))
    return {split: (cut.images[rows], cut.labels[rows]) for split, rows in cut.splits.items() if split in MOST}


def read_archive(archive: Path) -> Splits:
    """Read images that lie in folders of their split, if any, and class."""
    pixels, names = defaultdict[str, list[NDArray[np.uint8]]](list), defaultdict[str, list[str]](list)
    with ZipFile(archive) as files:
        for path in map(PurePosixPath, sorted(files.namelist())):
            if path.suffix.lower() == ".jpg":
                picture = Image.open(io.BytesIO(files.read(str(path)))).convert("RGB")
                pixels["".join(path.parts[:-2])].append(np.asarray(ImageOps.pad(picture, SIZE)))
                names["".join(path.parts[:-2])].append(path.parent.name)
    known = np.unique(np.concatenate(list(names.values())))
    return {split: (np.stack(pixels[split]), np.searchsorted(known, names[split]).astype(np.int32)) for split in pixels}


def train(client: Client, name: str, splits: Splits, seed: int) -> list[dict[str, Any]]:
    """Draw at most `MOST` images of each split, train both presets on them, and return a record of each."""
    found, arrays, short = list[dict[str, Any]](), dict[str, NDArray[Any]](), {"validation": "val"}
    for split, (images, labels) in splits.items():
        order = np.random.default_rng(seed).permutation(len(labels))
        rows = order[choose_stratified(labels[order], min(MOST[split], len(order)))]
        key = short.get(split, split)
        arrays |= {f"x_{key}": images[rows], f"y_{key}": labels[rows]}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "images.npz"), **arrays)  # type: ignore[arg-type]
        pushed = client.datasets.push(Path(folder, "images.npz"), name=(dataset := f"{name}-{seed}"))
    statistics = client.datasets.audit(pushed.id).statistics
    for preset in (Preset.REGULARIZED, Preset.PHOTOS):
        spec = get_spec(preset)
        job = client.jobs.create(spec | {"dataset": dataset, "training": spec["training"] | {"seed": seed}}).wait()
        if job.summary is None or job.started_at is None or job.finished_at is None:
            raise SystemExit(f"{name}, {preset}, seed {seed}: {job.status}, {job.error}")
        record = {"set": name, "preset": preset, "seed": seed, "shape": arrays["x_test"].shape}
        record |= {"classes": len(np.unique(arrays["y_test"])), "statistics": statistics["train"]["channels"]}
        record |= {"proposed": shows_photographs(record["shape"][1:], statistics)}
        record |= {"test": job.summary.test_accuracy, "seconds": (job.finished_at - job.started_at).total_seconds()}
        found.append(record)
        print(json.dumps(record), flush=True)
    return found


def tabulate(name: str, found: list[list[dict[str, Any]]]) -> str:
    """Return a line: mean test accuracies, the difference of each seed in points, and mean seconds of both presets."""
    count, *shape = found[0][0]["shape"]
    shares = " | ".join(f"{100 * mean(of_seed[at]['test'] for of_seed in found):.1f}%" for at in range(2))
    seconds = ", ".join(f"{mean(of_seed[at]['seconds'] for of_seed in found):.0f}" for at in range(2))
    differences = ", ".join(f"{100 * (photos['test'] - base['test']):+.1f}" for base, photos in found)
    about = f"{name}, {found[0][0]['classes']} classes | {'×'.join(map(str, shape))} | {count:,}"
    proposed = {base["proposed"] for base, _ in found}
    said = "in part" if len(proposed) > 1 else "yes" if proposed.pop() else "no"
    return f"| {about} | {shares} | {differences} | {seconds} | {said} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
