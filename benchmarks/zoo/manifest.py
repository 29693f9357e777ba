"""What each set was built with and what it came to, and the built arrays in the cache folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.zoo.likeness import measure_criterion
from benchmarks.zoo.packages import cache_folder, licence_of
from benchmarks.zoo.sets import Built, ZooSet, split

MANIFEST = Path(__file__).with_name("manifest.json")
SHEET_CLASSES, SHEET_IMAGES = 10, 8


class NotBuilt(Exception):
    """The set's arrays are not in the cache folder, or are others than the manifest says."""


def read_manifest() -> dict[str, dict[str, Any]]:
    manifest: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text("utf-8")) if MANIFEST.exists() else {}
    return manifest


def build(one: ZooSet) -> dict[str, Any]:
    """Build the set into the cache folder, with its contact sheet, and return its entry of the manifest."""
    built = one.build()
    folder = cache_folder() / "built"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{one.name}.npz",
        images=built.images,
        labels=built.labels,
        groups=built.groups,
        classes=np.array(built.classes),
        dropped=built.dropped,
    )
    sheet(built).save(folder / f"{one.name}.png")
    return describe(one, built)


def describe(one: ZooSet, built: Built) -> dict[str, Any]:
    """The set's entry of the manifest."""
    splits = split(built, one.folds)
    rows = b"".join(rows.astype("<i8").tobytes() for rows in splits.values())
    in_color, continuous = measure_criterion(built.images)
    return {
        "about": one.about,
        "packages": {str(package): licence_of(package) for package in sorted(one.packages)},
        "images": len(built.labels),
        "classes": len(built.classes),
        "size": built.images.shape[1],
        "channels": built.images.shape[3],
        # How the set meets the criterion of photograph-like sets.
        **({"in_color": in_color, "continuous": continuous} if one.lot == 6 else {}),
        "imbalance": round(built.imbalance, 1),
        "groups": int(built.groups.max()) + 1,
        "dropped": built.dropped,
        "guess": one.guess,
        "tuned_on": one.tuned_on,
        "lot": one.lot,
        "splits": {name: len(rows) for name, rows in splits.items()},
        "splits_sha256": hashlib.sha256(rows).hexdigest(),
        "sha256": built.digest(),
    }


def write_manifest(entries: dict[str, dict[str, Any]]) -> None:
    """Write these entries, and keep those of other sets."""
    merged = dict(sorted((read_manifest() | entries).items()))
    MANIFEST.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_built(name: str, wanted: str | None = None) -> Built:
    """The built set, compared with the digest that is wanted: by default the manifest's.

    Raises:
        NotBuilt: if it is not there, or its digest differs.
    """
    file = cache_folder() / "built" / f"{name}.npz"
    if not file.exists():
        raise NotBuilt(f"there is no {file}; `python -m benchmarks.zoo build {name}` makes it")
    with np.load(file) as arrays:
        classes = tuple(arrays["classes"].tolist())
        built = Built(arrays["images"], arrays["labels"], classes, arrays["groups"], int(arrays["dropped"]))
    wanted = wanted or read_manifest()[name]["sha256"]
    if built.digest() != wanted:
        raise NotBuilt(f"{name} was built as {built.digest()}, and the manifest says {wanted}; build it again")
    return built


def sheet(built: Built) -> Image.Image:
    """A contact sheet: a row for each of ten classes, with eight images of different groups."""
    side = built.images.shape[1]
    scale = max(1, 56 // side)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(built.classes))[:SHEET_CLASSES])
    canvas = Image.new("RGB", (SHEET_IMAGES * (side * scale + 4), len(chosen) * (side * scale + 4)), (200, 40, 200))
    for row, label in enumerate(chosen):
        of_class = rng.permutation(np.flatnonzero(built.labels == label))
        _, first = np.unique(built.groups[of_class], return_index=True)
        rest = np.setdiff1d(np.arange(len(of_class)), first)
        for column, place in enumerate([*rng.permutation(first), *rest][:SHEET_IMAGES]):
            pixels = built.images[of_class[place]]
            picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
            picture = picture.resize((side * scale, side * scale), Image.Resampling.NEAREST)
            canvas.paste(picture, (column * (side * scale + 4), row * (side * scale + 4)))
    return canvas
