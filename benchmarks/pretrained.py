"""What pretrained features and fine-tuning add on small sets: presets and remedies on the same images and seeds.

`HELDOUT_ZOO=FOLDER python -m benchmarks.pretrained PHOTOS [SET…]` trains each of `ARMS` on a service of its own. PHOTOS
has `clothes.zip` and `hand-signs.zip`. The other sets are open ones of the zoo, and `mnist5k`. Each training prints a
line of JSON when it ends, and each set a line of the table. Each seed draws its own images, and each job measures test
once. The rule for which the remedy `pretrained` is proposed was chosen on `LIKE_PHOTOGRAPHS` and `OTHERS`, and checked
on `CHECKED`, with one seed each.
`python -m benchmarks.pretrained rates PHOTOS` trains `RATES` on the first of `FINE_TUNED`, with a seed that is used
nowhere else, and prints their validation accuracies; `FINE_TUNING` is the best of them.
"""

import io
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
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

SEEDS = range(5)
CHECKED_SEEDS = range(1)
MOST = {"train": 500, "validation": 200, "test": 1_000}
SIZE = 128, 128  # of the photographs of archives, which are padded
LIKE_PHOTOGRAPHS = ("clothes", "hand_signs", "photo_large", "photo_tiles", "materials")
OTHERS = ("emoji_vendors", "wesnoth_units", "playing_cards", "hangul_syllables", "icon_families", "mnist5k")
CHECKED = (
    "photo_squares", "game_textures", "flags_countries", "flags_continents", "game_art", "clipart", "theme_icons",
    "walkers", "pointers", "mahjong_tiles", "emoji_skins", "emoji_genders", "captcha_letters", "tamil_letters",
    "typed_signs", "braille_dots", "brain_slices", "wesnoth_terrain",
)  # fmt: skip
# Only these, and with these seeds: the whole network is computed in each epoch.
FINE_TUNED, FINE_TUNED_SEEDS, SEED_OF_RATES = ("clothes", "hand_signs", "photo_large"), range(3), 99
# The first epoch in which more than the head is trained. By then, early stopping can have ended no training.
SECOND_PHASE = 6
RATES = {
    f"{rate} {layers or 'all'}": {"epoch": SECOND_PHASE, "learning_rate": rate, "layers": layers}
    for rate in (0.001, 0.0001, 0.00001)
    for layers in (30, None)
}
FINE_TUNING = RATES["0.0001 30"]


def build_arms() -> dict[str, dict[str, Any]]:
    """Return the specs that are compared, by name.

    What comes between the two presets are remedies of `regularized` that need no pretrained network. They are trained
    as long as `photos` is, so that features alone make the difference.
    """
    base, photos = get_spec(Preset.REGULARIZED), get_spec(Preset.PHOTOS)
    longer = base | {"training": photos["training"]}
    return {
        "regularized": base,
        "longer": longer,
        "augmentation": longer | {"augmentation": get_spec(Preset.AUGMENTED)["augmentation"]},
        "photos": photos,
        "fine_tuned": fine_tune(photos, FINE_TUNING),
    }


def fine_tune(spec: dict[str, Any], how: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the spec that trains more than the head from some epoch on."""
    network = spec["network"]
    return spec | {"network": network | {"backbone": network["backbone"] | {"unfreeze_at": how}}}


ARMS = build_arms()
REMEDIES = ("longer", "augmentation")
HEAD = "| set | image | test images | `regularized` | best remedy | `photos` | fine-tuned | differences | seconds |"


def main(photos: Path, names: list[str]) -> None:
    """Train all arms on each set, and print the table."""
    print("\n".join([HEAD, "|---" * 9 + "|"]), flush=True)
    with start_service() as client:
        for name in names or [*LIKE_PHOTOGRAPHS, *OTHERS]:
            seeds = CHECKED_SEEDS if name in CHECKED else SEEDS
            print(tabulate(name, [train_arms(client, name, photos, seed) for seed in seeds]), flush=True)


def compare_rates(photos: Path) -> None:
    """Fine-tune in all ways of `RATES`, and print what validation says of each."""
    specs = {"frozen": ARMS["photos"]} | {name: fine_tune(ARMS["photos"], how) for name, how in RATES.items()}
    with start_service() as client:
        dataset, _ = push(client, FINE_TUNED[0], read_splits(FINE_TUNED[0], photos, SEED_OF_RATES), SEED_OF_RATES)
        for name, spec in specs.items():
            done = train(client, spec, dataset, SEED_OF_RATES)
            print(f"{name}: {100 * done['validation']:.1f}% of validation, {done['seconds']:.0f} s", flush=True)


@contextmanager
def start_service() -> Iterator[Client]:
    """Start a service, and wait until it has its pretrained network."""
    with Service(2**30) as service, Client(service.url, service.api_key, patience_s=60) as client:
        while not any(model.name == PRETRAINED_MODEL and model.status == "ready" for model in client.models.list()):
            sleep(0.5)  # a worker converts the weights once
        yield client


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


def train_arms(client: Client, name: str, photos: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Train the arms of a set on one draw of its images, and return a record of each."""
    dataset, about = push(client, name, read_splits(name, photos, seed), seed)
    found = dict[str, dict[str, Any]]()
    for arm, spec in ARMS.items():
        if arm != "fine_tuned" or (name in FINE_TUNED and seed in FINE_TUNED_SEEDS):
            found[arm] = about | {"arm": arm, "seed": seed} | train(client, spec, dataset, seed)
            print(json.dumps(found[arm]), flush=True)
    return found


def push(client: Client, name: str, splits: Splits, seed: int) -> tuple[str, dict[str, Any]]:
    """Draw at most `MOST` images of each split, and return their dataset and what is known of them."""
    arrays, short = dict[str, NDArray[Any]](), {"validation": "val"}
    for split, (images, labels) in splits.items():
        order = np.random.default_rng(seed).permutation(len(labels))
        rows = order[choose_stratified(labels[order], min(MOST[split], len(order)))]
        key = short.get(split, split)
        arrays |= {f"x_{key}": images[rows], f"y_{key}": labels[rows]}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "images.npz"), **arrays)  # type: ignore[arg-type]
        pushed = client.datasets.push(Path(folder, "images.npz"), name=(dataset := f"{name}-{seed}"))
    statistics, shape = client.datasets.audit(pushed.id).statistics, arrays["x_test"].shape
    proposed = shows_photographs(shape[1:], statistics)
    return dataset, {"set": name, "shape": shape, "classes": len(np.unique(arrays["y_test"])), "proposed": proposed}


def train(client: Client, spec: dict[str, Any], dataset: str, seed: int) -> dict[str, Any]:
    """Train a spec, and return its accuracies and how long its job took."""
    job = client.jobs.create(spec | {"dataset": dataset, "training": spec["training"] | {"seed": seed}}).wait()
    if job.summary is None or job.started_at is None or job.finished_at is None:
        raise SystemExit(f"{dataset}, {spec}: {job.status}, {job.error}")
    best, test = job.summary.best, job.summary.test_accuracy
    assert best is not None
    assert test is not None
    seconds = (job.finished_at - job.started_at).total_seconds()
    return {"validation": best.validation_accuracy, "test": test, "seconds": seconds}


def tabulate(name: str, found: list[dict[str, dict[str, Any]]]) -> str:
    """Return a line of the table: mean test accuracies, differences of each seed in points, and mean seconds.

    The best remedy is the one with the highest mean accuracy on validation.
    """
    about = found[0]["photos"]
    count, *shape = about["shape"]
    best = max(REMEDIES, key=lambda arm: mean(of_seed[arm]["validation"] for of_seed in found))
    arms = ("regularized", best, "photos", "fine_tuned")
    done = {arm: [of_seed[arm] for of_seed in found if arm in of_seed] for arm in arms}
    shares = {arm: f"{100 * mean(each['test'] for each in runs):.1f}%" if runs else "" for arm, runs in done.items()}
    shares[best] += f" `{best}`"
    seconds = ", ".join(f"{mean(each['seconds'] for each in runs):.0f}" for runs in done.values() if runs)
    differences = subtract(found, "photos", best)
    if done["fine_tuned"]:
        differences += f"; {subtract(found, 'fine_tuned', 'photos')}"
    cells = f"{name}, {about['classes']} classes", "×".join(map(str, shape)), f"{count:,}"
    return f"| {' | '.join([*cells, *shares.values(), differences, seconds])} |"


def subtract(found: list[dict[str, dict[str, Any]]], arm: str, other: str) -> str:
    """Return by how many points of test accuracy an arm is better than another, for each seed that has both."""
    both = [of_seed for of_seed in found if arm in of_seed and other in of_seed]
    return ", ".join(f"{100 * (of_seed[arm]['test'] - of_seed[other]['test']):+.1f}" for of_seed in both)


if __name__ == "__main__":
    if sys.argv[1] == "rates":
        compare_rates(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
