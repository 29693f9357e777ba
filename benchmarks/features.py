"""What it saves to compute the features of a frozen backbone once: one job, and a study of heads and seeds.

MobileNetV2 at 96×96 with random weights, 3,000 images. `python -m benchmarks.features [EPOCHS]`: the job without a cache
may take fewer epochs than 20, from which 20 are extrapolated; its time without epochs is that of the job with a cache.
"""

import sys
import tempfile
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
        root = str(Path(__file__).resolve().parent.parent)
        bytes_ = str(self._cache_bytes)
        return super()._environment(home) | {"HELDOUT_FEATURE_CACHE_BYTES": bytes_, "PYTHONPATH": root}


def main(epochs: str = "20") -> None:
    """Print seconds of the jobs and of the study, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder))
        with Service(0) as service, Client(service.url, service.api_key) as client:
            fewer_s = train(client, make_spec(client, *files, int(epochs)))
        print(f"{epochs} epochs, computed in each step: {fewer_s:.1f} s", flush=True)
        with Service(2**30) as service, Client(service.url, service.api_key) as client:
            spec = make_spec(client, *files, EPOCHS)
            first_s = train(client, spec)
            print(f"{EPOCHS} epochs, features computed once: {first_s:.1f} s", flush=True)
            second_s = train(client, spec)
            print(f"{EPOCHS} epochs, features known: {second_s:.1f} s", flush=True)
            study_s = cure(client, spec)
    whole_s = second_s + (fewer_s - second_s) * EPOCHS / int(epochs)
    print(
        f"{EPOCHS} epochs, computed in each step: {whole_s:.1f} s; ratio {first_s / whole_s:.3f} (at most {JOB_TARGET})"
    )
    print(
        f"{len(HEADS)} heads × {SEEDS} seeds: {study_s:.1f} s; ratio {study_s / first_s:.2f} (at most {STUDY_TARGET})"
    )


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


def make_spec(client: Client, images: Path, backbone: Path, epochs: int) -> dict[str, Any]:
    """Upload the files, and return the spec of a job."""
    client.datasets.push(images, name="colors")
    model = client.models.create(backbone).wait()
    network = {"backbone": {"model": model.id}, "blocks": [], "head": "global_average"}
    return {"dataset": "colors", "network": network, "training": {"epochs": epochs, "seed": 1, "batch_size": 32}}


def train(client: Client, spec: dict[str, Any]) -> float:
    """Train one job; return its seconds."""
    began = perf_counter()
    job = client.jobs.create(spec).wait()
    assert job.status == "succeeded", job.error
    return perf_counter() - began


def cure(client: Client, spec: dict[str, Any]) -> float:
    """Train all heads with all seeds as a study; return its seconds."""
    began = perf_counter()
    remedies = [{"name": name, "patch": {"network": patch}} for name, patch in HEADS.items() if patch]
    study = client.studies.create({"spec": spec, "remedies": remedies, "seeds": SEEDS, "splits": "fixed"}).wait()
    assert study.status == "succeeded", study
    return perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
