"""A script reads an upload exactly as the ingest does."""

import base64
import io
import os
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from analysis.arrays.dataset import ImageSet, load
from analysis.arrays.file_names import MEMBERS_FILE, FileNames
from analysis.scripts.script import Reader, make_array_reader, make_folder_reader
from heldout.spec.dataset import DatasetSpec
from worker.ingest.pipeline import run

DRAWS = np.random.default_rng(3)


def make_picture(number: int) -> tuple[str, bytes]:
    """Make an image file of a kind that needs conversion: transparent, gray, with a palette, or rotated."""
    kind = ("RGBA", "L", "P", "RGB")[number % 4]
    size = (12 + number % 3, 10)
    image = Image.fromarray(DRAWS.integers(0, 255, (size[1], size[0], 4), np.uint8), "RGBA")
    image = image if kind == "RGBA" else image.convert("RGB").convert(kind)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated
    file = io.BytesIO()
    image.save(file, "PNG", **({"exif": exif} if kind == "RGB" else {}))
    return f"around/{('cat', 'dög')[number // 2 % 2]}/{number:03}.png", file.getvalue()


def ingest(upload: Path, folder: Path, **spec: object) -> tuple[ImageSet, FileNames]:
    run(upload, DatasetSpec.model_validate({"name": "own", **spec}), folder)
    return load(folder), FileNames(folder / MEMBERS_FILE)


def read(reader: Reader, upload: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Run the script's own function."""
    modules = (base64, io, os, sys, tarfile, unicodedata, zipfile, zlib)
    script = {module.__name__: module for module in modules} | {"np": np, "Image": Image, "ImageOps": ImageOps}
    for name, (_, content) in reader.constants.items():
        script[name] = base64.b64encode(zlib.compress(content))
    script["SHAPE"] = shape
    exec(reader.code, script)
    return script["read"](str(upload))


@pytest.mark.parametrize(("packed", "rule", "colour"), [("zip", "pad", "auto"), ("tar.gz", "crop", "grey")])
def test_folders_of_images_give_the_same_pixels(tmp_path: Path, packed: str, rule: str, colour: str) -> None:
    upload, files = tmp_path / f"upload.{packed}", [make_picture(number) for number in range(40)]
    if packed == "zip":
        with zipfile.ZipFile(upload, "w") as archive:
            for name, content in files:
                archive.writestr(name, content)
    else:
        with tarfile.open(upload, "w:gz") as archive:
            for name, content in files:
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    resize = {"height": 9, "width": 11, "rule": rule}
    images, names = ingest(upload, tmp_path / "made", resize=resize, colour=colour)
    asked = DatasetSpec.model_validate({"name": "own", "resize": resize})
    reader = make_folder_reader("", [names[row] for row in range(len(names))], images.labels, asked.resize)
    pixels, labels = read(reader, upload, images.shape)
    assert np.array_equal(pixels, images.images)
    assert np.array_equal(labels, images.labels)
    assert (pixels.dtype, labels.dtype) == (np.uint8, np.int32)
    for name, content in files:
        file = tmp_path / "unpacked" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    unpacked, _ = read(reader, tmp_path / "unpacked", images.shape)
    assert np.array_equal(unpacked, images.images)


@pytest.mark.parametrize("labels", ["text", "places in names"])
def test_arrays_give_the_same_pixels_and_labels(tmp_path: Path, labels: str) -> None:
    upload, places = tmp_path / "upload.npz", DRAWS.integers(0, 3, 60)
    names = np.array(["wolf", "cat", "dog"])
    given = {"labels": names[places]} if labels == "text" else {"labels": places, "class_names": names}
    np.savez(upload, images=DRAWS.random((60, 8, 9)) * 3 - 1, **given)
    images, _ = ingest(upload, tmp_path / "made")
    pixels, found = read(make_array_reader(""), upload, images.shape)
    assert np.array_equal(pixels, images.images)
    assert np.array_equal(found, images.labels)
    assert pixels.dtype == images.images.dtype


def test_gray_arrays_next_to_color_arrays_give_the_same_pixels(tmp_path: Path) -> None:
    gray, color = DRAWS.integers(0, 256, (40, 8, 9)), DRAWS.integers(0, 256, (20, 8, 9, 3), np.uint8)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "upload.npz", x_train=gray, y_train=labels[:40], x_test=color, y_test=labels[40:])
    images, _ = ingest(tmp_path / "upload.npz", tmp_path / "made")
    pixels, _ = read(make_array_reader(""), tmp_path / "upload.npz", images.shape)
    assert np.array_equal(pixels, images.images)
    assert pixels.dtype == images.images.dtype
