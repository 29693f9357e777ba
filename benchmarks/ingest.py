"""Ingest beside a plain Pillow loop over the same archive; and the memory of its process tree, seen from outside."""

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from heldout.spec.dataset import DatasetSpec
from models.bundled import BUNDLED
from worker.ingest.limits import Limits
from worker.ingest.process.parent import IngestProcess
from worker.ingest.report import Report

IMAGES = 60_000
ROUNDS = 3
MIB = 1024**2
ARCHIVES_MIB = (256, 1024)
SAMPLE_EVERY_S = 0.02
PAGE = os.sysconf("SC_PAGESIZE")


class Tree:
    """The resident memory of all processes of a session, sampled while it runs; shared pages count in each of them."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._over = threading.Event()
        self.samples: list[int] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            self.samples.append(sum(_resident(pid) for pid in _members(self._session)))


def main() -> None:
    """Print images a second of both, round by round, and peaks of memory for archives of two sizes."""
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as name:
        folder = Path(name)
        archive = _digits(folder / "digits.zip", IMAGES)
        print(
            f"{IMAGES:,} PNGs of 28×28 in an ImageFolder zip, {os.cpu_count()} cores; images/s, and processor seconds"
        )
        names = ("round", "Pillow loop", "ingest", "decoding", "ratio", "loop CPU", "ingest CPU")
        print(" ".join(f"{name:>11}" for name in names))
        ratios = []
        for number in range(1, ROUNDS + 1):
            before = _processor_s()
            plain = IMAGES / _plain(archive)
            between = _processor_s()
            whole, decoding, _ = _ingest(archive, folder / "target")
            used = between[0] - before[0], _processor_s()[1] - between[1]
            ratios.append(IMAGES / whole / plain)
            speeds = f"{plain:>11,.0f} {IMAGES / whole:>11,.0f} {IMAGES / decoding:>11,.0f}"
            print(f"{number:>11} {speeds} {ratios[-1]:>11.2f} {used[0]:>11.2f} {used[1]:>11.2f}")
        print(
            f"median ratio {statistics.median(ratios):.2f}; an ingest is all: start, decoding, audit, address, sheets"
        )
        archive.unlink()
        print(f"\n{'archive MiB':>12} {'images':>8} {'seconds':>8} {'peak MiB':>9} {'90 % MiB':>9} {'50 % MiB':>9}")
        for size in ARCHIVES_MIB:
            archive, count = _photos(folder / "photos.zip", size * MIB)
            seconds, _, samples = _ingest(archive, folder / "target")
            peak, most, half = (np.quantile(samples, share) / MIB for share in (1, 0.9, 0.5))
            print(f"{size:>12} {count:>8,} {seconds:>8.1f} {peak:>9.0f} {most:>9.0f} {half:>9.0f}")
            archive.unlink()


def _plain(archive: Path) -> float:
    """Seconds that the loop takes which anyone would write."""
    began = time.perf_counter()
    images = []
    with zipfile.ZipFile(archive) as files:
        for info in files.infolist():
            with files.open(info) as file, Image.open(file) as image:
                images.append(np.asarray(image))
    assert np.stack(images).shape == (IMAGES, 28, 28)
    return time.perf_counter() - began


def _ingest(archive: Path, target: Path) -> tuple[float, float, list[int]]:
    """Seconds of the whole ingest and of its decoding, and the memory of its processes."""
    began = time.perf_counter()
    decoded = 0.0
    opened = began
    with IngestProcess(archive, DatasetSpec(name="bench"), target, Limits()) as process, _watched(process.pid) as tree:
        while not isinstance(message := process.receive(60), Report):
            if message is not None and message.stage == "opening":
                opened = time.perf_counter()
            if message is not None and message.stage == "decoding" and message.done == message.of:
                decoded = time.perf_counter()
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return seconds, decoded - opened, tree.samples


@contextmanager
def _watched(session: int) -> Iterator[Tree]:
    tree = Tree(session)
    try:
        yield tree
    finally:
        tree.stop()


def _processor_s() -> tuple[float, float]:
    """Processor time of this process, and of its children that have ended."""
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


def _members(session: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session:
            yield int(path.parent.name)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def _digits(path: Path, count: int) -> Path:
    """Real digits, moved by a few pixels so that they differ, as PNGs in class folders."""
    source = BUNDLED["mnist5k"].read(Path("unused"))
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            row = number % len(source.images)
            moved = np.roll(source.images[row, ..., 0], generator.integers(-2, 3, 2), (0, 1))
            archive.writestr(f"{source.classes[source.labels[row]]}/{number:05d}.png", _png(moved))
    return path


def _photos(path: Path, size: int) -> tuple[Path, int]:
    """Images of 224×224 in colour whose files together have `size` bytes."""
    generator = np.random.default_rng(0)
    written = count = 0
    with zipfile.ZipFile(path, "w") as archive:
        while written < size:
            data = _png(generator.integers(0, 256, (224, 224, 3), dtype=np.uint8))
            archive.writestr(f"{count % 10}/{count:06d}.png", data)
            written += len(data)
            count += 1
    return path, count


def _png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1 if pixels.ndim == 3 else 6)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
