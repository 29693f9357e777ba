"""Uploads made by the tools that users have: Pillow, zipfile, tarfile, numpy, pyarrow."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heldout.spec.dataset import DatasetSpec
from worker.ingest.messages import IngestReport
from worker.ingest.pipeline import run
from worker.ingest.rejection import IngestLimits, Rejection

MIB = 1024**2
# Everything in this process: no forks, and hypothesis can follow.
ALONE = IngestLimits(processes=1)
SPEC = DatasetSpec(name="pets")


def encoded(image: Image.Image | np.ndarray, format_: str = "PNG", **options: Any) -> bytes:
    """An image as a file's bytes."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, format_, **options)
    return file.getvalue()


def with_scans(more: int) -> bytes:
    """A progressive JPEG whose last scan comes `more` times again."""
    data = encoded(noise((12, 10, 3)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


def noise(shape: tuple[int, ...] = (12, 10), seed: int = 0) -> np.ndarray:
    """Pixels that no other seed has."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pictures(per_class: int = 10, classes: Iterable[str] = ("cat", "dog"), shape=(12, 10)) -> dict[str, bytes]:
    """A folder of `class/file.png`, all different."""
    return {
        f"{name}/{number:03d}.png": encoded(noise(shape, 1000 * place + number))
        for place, name in enumerate(classes)
        for number in range(per_class)
    }


def zipped(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Mapping[str, bytes], mode: str = "w", format_: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=format_) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path if path.suffix == ".npz" else path.with_suffix(path.suffix + ".npz")


def arrays_of(count: int = 40, shape: tuple[int, ...] = (12, 10), classes: int = 2) -> dict[str, np.ndarray]:
    """`x` and `y` of different images, the classes in turn."""
    return {"x": noise((count, *shape)), "y": np.arange(count) % classes}


def taken(path: Path, spec: DatasetSpec = SPEC, limits: IngestLimits = ALONE) -> tuple[IngestReport, Path]:
    """The report on an upload that is taken, and the folder that it was written to."""
    target = path.parent / f"{path.name}-target"
    return run(path, spec, target, limits), target


def rejection_of(path: Path, spec: DatasetSpec = SPEC, limits: IngestLimits = ALONE) -> Rejection:
    """Why an upload is not taken; none of it is left behind."""
    target = path.parent / f"{path.name}-target"
    with pytest.raises(Rejection) as caught:
        run(path, spec, target, limits)
    assert list(target.iterdir()) == []
    return caught.value
