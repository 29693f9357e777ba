"""Uploads made with the tools of users: Pillow, zipfile, tarfile, numpy and pyarrow."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import AuditFinding, IngestedContent, StoredAudit
from worker.ingest.pipeline import run
from worker.ingest.rejection import IngestLimits, Rejection

MIB = 1024**2
# Everything runs in this process, so nothing is forked and Hypothesis can trace it.
ALONE = IngestLimits(processes=1)
SPEC = DatasetSpec(name="pets")


def encoded(image: Image.Image | np.ndarray, format_: str = "PNG", **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, format_, **options)
    return file.getvalue()


def with_scans(more: int) -> bytes:
    """Make a progressive JPEG whose last scan is repeated `more` times."""
    data = encoded(noise((12, 10, 3)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


def claim_size(data: bytes, side: int) -> bytes:
    """Let a progressive JPEG claim to be of this height and width."""
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + side.to_bytes(2, "big") * 2 + data[at + 4 :]


def noise(shape: tuple[int, ...] = (12, 10), seed: int = 0) -> np.ndarray:
    """Draw random pixels, different for each seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pictures(per_class: int = 10, classes: Iterable[str] = ("cat", "dog"), shape=(12, 10)) -> dict[str, bytes]:
    """Make a folder of different images with names such as `class/000.png`."""
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
    """Make `x` and `y` of different images with alternating classes."""
    return {"x": noise((count, *shape)), "y": np.arange(count) % classes}


@dataclass(frozen=True)
class Report(IngestedContent):
    """The result of an ingest, and what its audit says."""

    source: dict[str, Any] = field(default_factory=dict)
    findings: tuple[AuditFinding, ...] = ()


def add_audit(content: IngestedContent, target: Path) -> Report:
    stored = StoredAudit.from_bytes((target / StoredAudit.file_name).read_bytes())
    return Report(**vars(content), source=stored.source, findings=stored.findings)


def taken(path: Path, spec: DatasetSpec = SPEC, limits: IngestLimits = ALONE) -> tuple[Report, Path]:
    """Ingest an upload that is accepted; return the report and the folder."""
    target = path.parent / f"{path.name}-target"
    return add_audit(run(path, spec, target, limits), target), target


def rejection_of(path: Path, spec: DatasetSpec = SPEC, limits: IngestLimits = ALONE) -> Rejection:
    """Ingest an upload that is refused; check that no files are left, and return the rejection."""
    target = path.parent / f"{path.name}-target"
    with pytest.raises(Rejection) as caught:
        run(path, spec, target, limits)
    assert list(target.iterdir()) == []
    return caught.value
