"""What computing the features of a frozen backbone once saves: for one job, and for a study of heads and seeds.

MobileNetV2 at 96×96 with random weights, 3,000 images: `python -m benchmarks.features`. It takes about ten minutes of
processor time.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np

from examples.demo import TemporaryService
from heldout.client.client import Client

IMAGES, SIDE, CLASSES, EPOCHS = 3_000, 96, 5, 20
HEADS: dict[str, Any] = {
    "base": {},
    "dense": {"dense": [{"units": 32}]},
    "dropped": {"dense": [{"units": 32, "dropout": 0.3}]},
    "flat": {"head": "flatten"},
    "block": {"blocks": [{"filters": 16, "kernel_size": 1, "pool": 1}]},
}
SEEDS = 5
JOB_TARGET, STUDY_TARGET = 1 / 8, 2.0


class Service(TemporaryService):
    """A service whose workers keep this many bytes of features."""

    def __init__(self, cache_bytes: int) -> None:
        super().__init__()
        self._cache_bytes = cache_bytes

    def _environment(self, home: Path) -> dict[str, str]:
        quiet = {"CALIBRATE": "false", "CHECK_LABELS": "false", "FEATURES": "false", "PROVE_IDLE_S": "0"}
        own = {"FEATURE_CACHE_BYTES": str(self._cache_bytes), **quiet}
        return super()._environment(home) | {f"HELDOUT_{name}": value for name, value in own.items()}


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of all cores. Only the latter mean anything if other programs are running."""

    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s, of cores {self.cpu_s:.1f} s"


def main() -> None:
    """Print the cost of the job and of the study, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder))
        with Service(2**30) as service, Client(service.url, service.api_key) as client:
            spec = make_spec(client, *files)
            first = measure(service, lambda: train(client, spec))
            print(f"{EPOCHS} epochs, features computed once: {first}", flush=True)
            print(f"{EPOCHS} epochs, features known: {measure(service, lambda: train(client, spec))}", flush=True)
            study = measure(service, lambda: cure(client, spec))
            print(f"{len(HEADS)} heads × {SEEDS} seeds: {study}", flush=True)
        with Service(0) as service, Client(service.url, service.api_key) as client:
            spec = make_spec(client, *files)
            in_steps = measure(service, lambda: train(client, spec))
            print(f"{EPOCHS} epochs, features computed in each step: {in_steps}", flush=True)
    for name in ("wall_s", "cpu_s"):
        once, of_study, whole = (getattr(cost, name) for cost in (first, study, in_steps))
        print(f"{name}: ratio of jobs {once / whole:.3f} (at most {JOB_TARGET})")
        print(f"{name}: ratio of the study to its first job {of_study / once:.2f} (at most {STUDY_TARGET})")


def measure(service: Service, work: Callable[[], None]) -> Cost:
    """Do some work, and return its cost."""
    began, used = perf_counter(), sum_cpu_s(service)
    work()
    return Cost(perf_counter() - began, sum_cpu_s(service) - used)


def sum_cpu_s(service: Service) -> float:
    """Sum the processor time of all processes of a service, including those that have ended."""
    assert service._process is not None
    children, ticks = defaultdict[int, list[int]](list), dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children[int(fields[1])].append(int(stat.parent.name))
            ticks[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    left, total = [service._process.pid], 0
    while left:
        pid = left.pop()
        total += ticks.get(pid, 0)
        left += children[pid]
    return total / os.sysconf("SC_CLK_TCK")


def write_files(folder: Path) -> tuple[Path, Path]:
    """Write images whose classes differ in color, and a backbone."""
    draws = np.random.default_rng(1)
    labels = draws.integers(0, CLASSES, IMAGES)
    images = draws.integers(0, 200, (IMAGES, SIDE, SIDE, 3))
    images[..., 0] += labels[:, None, None] * 8
    np.savez(folder / "colors.npz", x=images.astype(np.uint8), y=labels)
    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3))
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    model = keras.Model(pixels, network(keras.layers.Rescaling(1 / 127.5, -1)(pixels)))
    model.save(folder / "backbone.keras")
    return folder / "colors.npz", folder / "backbone.keras"


def make_spec(client: Client, images: Path, backbone: Path) -> dict[str, Any]:
    """Upload the files, and return the spec of a job."""
    client.datasets.push(images, name="colors")
    model = client.models.create(backbone).wait()
    network = {"backbone": {"model": model.id}, "blocks": [], "head": "global_average"}
    return {"dataset": "colors", "network": network, "training": {"epochs": EPOCHS, "seed": 1}}


def train(client: Client, spec: dict[str, Any]) -> None:
    """Train one job."""
    job = client.jobs.create(spec).wait()
    assert job.status == "succeeded", job.error


def cure(client: Client, spec: dict[str, Any]) -> None:
    """Train all heads with all seeds as a study."""
    remedies = [{"name": name, "patch": {"network": patch}} for name, patch in HEADS.items() if patch]
    ordered = {"spec": spec, "remedies": remedies, "seeds": SEEDS, "splits": "fixed"}
    study = client.studies.create({**ordered, "budget": {"jobs": SEEDS * len(HEADS)}}).wait()
    assert study.status == "succeeded", study


if __name__ == "__main__":
    main()
