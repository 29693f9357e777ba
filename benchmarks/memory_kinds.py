"""The peak memory of work other than training, and what is reserved for it. `python -m benchmarks.memory_kinds`.

A service does one thing at a time. The memory of all processes that its worker starts for it is added up ten times a
second. It takes about ten minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from PIL import Image

from examples.demo import TemporaryService
from heldout.client.client import Client
from heldout.stored.artifacts import ExportFormat
from heldout.work.kinds import KINDS, JobKind
from heldout.work.memory import estimate_evaluation_bytes, estimate_export_bytes, estimate_uploaded_model_bytes
from models import bundled

MIB = 2**20
LOOK_EVERY_S = 0.1
PHOTO = (128, 128, 3)
PHOTOS = 600
# Widths of the dense layers of uploaded models: the files have 4 bytes for each weight.
DENSE: Final = {"17 KB": (), "65 MB": (4096, 4096), "195 MB": (4096,) * 4, "455 MB": (4096,) * 8}
_SAVE_DENSE = """
import sys
import keras
widths, file = [int(one) for one in sys.argv[2:]], sys.argv[1]
layers = [keras.layers.Dense(one) for one in widths]
keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers, keras.layers.Dense(10)]).save(file)
"""
_SAVE_MOBILE_NET = """
import sys
import keras
keras.applications.MobileNetV2((128, 128, 3), weights=None, classes=2).save(sys.argv[1])
"""


class Sampler:
    """The memory of all processes below one, and the peak of those that began in a phase."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: set[int] = set()
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @contextmanager
    def phase(self, what: str, reserved: int) -> Iterator[None]:
        """Print the peak of a phase."""
        self._known = {child.pid for child in self._root.children(recursive=True)}
        self._peak = 0
        yield
        share = f"{100 * reserved / self._peak:.0f}%" if self._peak else "–"
        print(f"| {what} | {self._peak / MIB:,.0f} | {reserved / MIB:,.0f} | {share} |", flush=True)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            total = 0
            for child in self._root.children(recursive=True):
                if child.pid not in self._known:
                    try:
                        total += child.memory_info().rss
                    except psutil.Error:
                        continue
            self._peak = max(self._peak, total)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def main(arguments: list[str]) -> None:
    """Print a row for each kind of work and size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory_kinds", description=__doc__)
    parser.add_argument("--of", nargs="*", choices=["datasets", "exports", "models"], help="Only these.")
    wanted = parser.parse_args(arguments).of or ["datasets", "exports", "models"]
    with (
        TemporaryService() as service,
        Client(service.url, service.api_key) as client,
        tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder,
    ):
        _wait_for_rest(client)
        sampler = Sampler(_worker_of(service.folder / "home"))
        print("| work | measured, MiB | reserved, MiB | reserved of measured |\n|---|---|---|---|", flush=True)
        photos = _photos(client, sampler, Path(folder))
        if "datasets" in wanted:
            _measure_datasets(client, sampler, photos)
        if "exports" in wanted:
            _measure_exports(client, sampler)
        if "models" in wanted:
            _measure_models(client, sampler, photos, Path(folder))
        sampler.stop()


def _photos(client: Client, sampler: Sampler, folder: Path) -> str:
    size = {"height": PHOTO[0], "width": PHOTO[1], "rule": "stretch"}
    file = _zipped_photos(folder)
    with sampler.phase(f"check of an upload, {PHOTOS} photos of 128×128", _reserved(JobKind.INGEST)):
        dataset = client.datasets.create({"name": "photos", "resize": size})
        client.datasets.upload(dataset.id, file)
        _until(lambda: client.datasets.get(dataset.id).status == "ready")
    return dataset.id


def _measure_datasets(client: Client, sampler: Sampler, photos: str) -> None:
    with sampler.phase("a version of it without some", _reserved(JobKind.DERIVE)):
        version = client.datasets.fix(photos, {"exclude": [0, 1]})
        _until(lambda: client.datasets.get(version.id).status == "ready")
    for name, shown in (("mnist5k", "mnist5k"), (photos, "photos")):
        with sampler.phase(f"search for wrong labels, {shown}", _reserved(JobKind.SUSPECT)):
            _until(lambda: client.datasets.suspects(name).status in {"ready", "failed"})  # noqa: B023


def _measure_exports(client: Client, sampler: Sampler) -> None:
    networks: dict[str, dict[str, Any]] = {
        "network A": {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 128}]},
        "8-8, dense 4096 twice": {
            "blocks": [{"filters": 8}, {"filters": 8}],
            "dense": [{"units": 4096}, {"units": 4096}],
        },
    }
    for name, network in networks.items():
        spec = {"dataset": "mnist5k", "network": network, "training": {"epochs": 1}}
        job_id = client.jobs.create(spec).id
        parameters = client.jobs.get(job_id).parameters or 0
        _until(lambda: client.jobs.get(job_id).status == "succeeded")  # noqa: B023
        for format_ in ("keras", "saved_model", "onnx", "litert"):
            with sampler.phase(
                f"export as {format_}, {name}", estimate_export_bytes(ExportFormat(format_), parameters)
            ):
                _until(lambda: client.jobs.export(job_id, format_).status != "queued")  # noqa: B023


def _measure_models(client: Client, sampler: Sampler, photos: str, folder: Path) -> None:
    digits = bundled.BUNDLED["digits"].read(Path())
    files = {f"dense, {size}": (_saved(_SAVE_DENSE, folder, *widths), "digits") for size, widths in DENSE.items()}
    files["MobileNetV2, 128×128"] = _saved(_SAVE_MOBILE_NET, folder), photos
    for name, (file, on) in files.items():
        size, images = file.stat().st_size, digits.images.nbytes if on == "digits" else PHOTOS * np.prod(PHOTO)
        shape = (8, 8, 1) if on == "digits" else PHOTO
        # A check does not know the largest layer yet, and reserves more.
        largest = 4 * 4096**2 if "MB" in name else 0
        with sampler.phase(f"check of a model, {name}", estimate_uploaded_model_bytes(size, largest)):
            model = client.models.create(file)
            while not model.has_ended:
                model = client.models.get(model.id, wait_s=30)
        expected = estimate_evaluation_bytes(size, largest, shape, int(images))
        with sampler.phase(f"measuring of it, {'digits' if on == 'digits' else 'photos'}", expected):
            evaluation = client.evaluations.create(model.id, on)
            while not evaluation.has_ended:
                evaluation = client.evaluations.get(evaluation.id, wait_s=30)
        assert evaluation.status == "succeeded", evaluation


def _reserved(kind: JobKind) -> int:
    return KINDS[kind].memory_bytes or 0


def _worker_of(home: Path) -> int:
    up = int(json.loads((home / "service.json").read_text())["pid"])
    for child in psutil.Process(up).children():
        if "worker.local" in child.cmdline():
            return child.pid
    raise SystemExit("The service has no worker.")


def _wait_for_rest(client: Client) -> None:
    """Wait until the machine is calibrated and the copies in bundled datasets are found."""
    spec = {"dataset": "digits", "network": {"blocks": [{"filters": 8}]}}
    _until(lambda: client.jobs.estimate(spec).seconds_per_epoch is not None)
    time.sleep(30)


def _until(is_so: Callable[[], object], within_s: float = 600.0) -> None:
    ends = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > ends:
            raise SystemExit("It took too long.")
        time.sleep(0.2)


def _zipped_photos(folder: Path) -> Path:
    drawn, file = np.random.default_rng(0), folder / "photos.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(PHOTOS):
            packed = BytesIO()
            Image.fromarray(drawn.integers(0, 256, (256, 256, 3), np.uint8)).save(packed, "JPEG")
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.jpg", packed.getvalue())
    return file


def _saved(script: str, folder: Path, *widths: int) -> Path:
    """The file of a model, made by a process that has ended, so that its memory does not count."""
    file = folder / f"{len(list(folder.iterdir()))}.keras"
    subprocess.run([sys.executable, "-c", script, str(file), *map(str, widths)], check=True, capture_output=True)
    return file


if __name__ == "__main__":
    main(sys.argv[1:])
