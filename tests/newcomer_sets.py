"""Small sets of real digits as a newcomer has them: zips of pictures, with a correct or a faulty test split."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from models.bundled import BUNDLED

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN = 600


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 800 digits as (images, 16, 16) of 8 bits, and their labels."""
    bundled = BUNDLED["digits"].read(Path("/nonexistent"))
    chosen = np.random.default_rng(0).permutation(len(bundled.images))[:800]
    small = (bundled.images[chosen] * 15).astype(np.uint8).reshape(-1, 8, 8)
    return small.repeat(2, axis=1).repeat(2, axis=2), bundled.labels[chosen]


def list_files(images: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    """Return `class/file.png` for each image."""
    files = {}
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        files[f"{WORDS[label]}/{number:04d}.png"] = content.getvalue()
    return files


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pack_splits(folder: Path, fault: str = "") -> Path:
    """Write `train.zip` and `test.zip` to a folder. The test images may be `inverted`, or their classes
    `relabelled`.
    """
    images, labels = read_digits()
    test = {
        "": list_files(images[TRAIN:], labels[TRAIN:]),
        "inverted": list_files(255 - images[TRAIN:], labels[TRAIN:]),
        "relabelled": list_files(images[TRAIN:], (labels[TRAIN:] + 1) % 10),
    }[fault]
    folder.mkdir()
    pack(folder / "train.zip", list_files(images[:TRAIN], labels[:TRAIN]))
    pack(folder / "test.zip", test)
    return folder
