"""The peak memory of trainings, compared with what `heldout/work/memory.py` expects. `python -m benchmarks.memory`.

Each training is forked from a process that has imported TensorFlow but never used it, like a worker's, and runs to its
end: steps, measuring, checkpoints, export, predictions. `--fit` prints the constants that fit best. All of them take
some minutes on two cores.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.naive import in_fork
from benchmarks.network_kinds import LARGE, NETWORKS, PHOTO, SMALL, Network, _blocks
from heldout.cli.spec_files import Preset, get_spec
from heldout.spec.job import JobSpec
from heldout.work.memory import BASE_BYTES, FLOAT_BYTES, estimate_training_bytes

MIB = 2**20
EPOCHS = 1
WITHIN = 0.25
# Larger than those whose time is measured: by their maps, their parameters, their images.
LARGER: dict[str, Network] = {
    "64-128-256 same on 96×96, batch 64": Network({"blocks": _blocks(64, 128, 256, padding="same")}, LARGE, 64, 1, 64),
    "64-64 same on 96×96, batch 256": Network({"blocks": _blocks(64, 64, padding="same")}, LARGE, 256, 1, 256),
    "32, batch_norm, on 96×96, batch 512": Network(
        {"blocks": _blocks(32, padding="same", batch_norm=True), "head": "global_average"}, LARGE, 512, 1, 512
    ),
    "8-8, dense 4096 twice": Network(
        {"blocks": _blocks(8, 8), "dense": [{"units": 4096}, {"units": 4096}]}, SMALL, 64, 1, 64
    ),
    "4 on 64×64, 30,000 images": Network({"blocks": _blocks(4), "head": "global_average"}, PHOTO, 30_000, 1, 256),
}
AVERAGE = "global_average"
RESNET20 = get_spec(Preset.RESNET20)["network"]
RESIDUAL: dict[str, Network] = {
    f"ResNet20, norm {norm}, batch 128": Network(
        RESNET20 | {"blocks": [block | {"norm": norm} for block in RESNET20["blocks"]]}, SMALL, 512, 1, 128
    )
    for norm in ("batch", "layer", "group", "none")
} | {
    "64 residual blocks of 8 filters, batch 16": Network(
        {"blocks": [{"filters": 8, "norm": "batch", "residual": True, "repeat": 2, "pool": 1}] * 64, "head": AVERAGE},
        SMALL,
        128,
        1,
        16,
    )
}
ALL = NETWORKS | LARGER | RESIDUAL


@dataclass(frozen=True)
class Peak:
    """One training: expected bytes, measured bytes, and the parts of the former."""

    expected: int
    measured: int
    amounts: tuple[float, ...]

    @property
    def share(self) -> float:
        return self.expected / self.measured


def main(arguments: list[str]) -> None:
    """Print a row for each network, and how many are within a quarter."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--networks", nargs="*", help="Only those whose names begin so.")
    parser.add_argument("--precision", choices=["float32", "mixed"], default="float32")
    parser.add_argument("--seeds", type=int, default=1, help="Trainings in one process, as in a study.")
    parser.add_argument("--moves", action="store_true", help="With rotated and shifted images.")
    parser.add_argument("--fit", action="store_true", help="Print the constants that fit best.")
    given = parser.parse_args(arguments)
    import worker.training.preload  # noqa: F401  (imports Keras without TensorFlow's greetings)

    chosen = {name: one for name, one in ALL.items() if not given.networks or name.startswith(tuple(given.networks))}
    print("| network | expected, MiB | measured, MiB | expected of measured |\n|---|---|---|---|")
    peaks = []
    for name, network in chosen.items():
        peak = _peak_of(network, given.precision, given.seeds, given.moves)
        peaks.append(peak)
        cells = (f"{peak.expected / MIB:,.0f}", f"{peak.measured / MIB:,.0f}", f"{100 * peak.share:.0f}%")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    near = sum(1 - WITHIN <= peak.share <= 1 + WITHIN for peak in peaks)
    print(f"\n{near} of {len(peaks)} are within {100 * WITHIN:.0f}%. TensorFlow alone: {BASE_BYTES / MIB:,.0f} MiB.")
    if given.fit:
        _print_fit(peaks)


def _print_fit(peaks: list[Peak]) -> None:
    """Print the best constants, weighted by the measured peaks, because estimates count by their percentage."""
    from scipy.optimize import nnls

    amounts = np.array([peak.amounts for peak in peaks])
    measured = np.array([peak.measured for peak in peaks], float)
    found, _ = nnls(amounts / measured[:, None], np.ones(len(peaks)))
    fitted = amounts @ found / measured
    print(f"base {found[0] / MIB:.0f} MiB, copies of images {found[1]:.2f}, parameters {found[2]:.2f}, ", end="")
    print(f"outputs in training {found[3]:.2f}; fitted of measured {fitted.min():.2f} to {fitted.max():.2f}")


def _peak_of(network: Network, precision: str, seeds: int, moves: bool) -> Peak:
    from analysis.arrays.dataset import save
    from heldout.spec.layers import plan_network

    body: dict[str, Any] = {"dataset": "digits", "network": network.network}
    body["training"] = {"epochs": EPOCHS, "batch_size": network.batch_size, "precision": precision}
    body["augmentation"] = {"rotation_degrees": 20, "width_shift": 0.2} if moves else None
    spec = JobSpec.model_validate(body).complete(name="memory", seed=7)
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        images = _image_set(network)
        save(images, data)
        count, classes, image_bytes = len(images.images), len(images.classes), images.images.nbytes
        del images  # a fork would have them, too
        measured = in_fork(_run, spec, data, seeds)
    plan = plan_network(spec.network, network.image, classes)
    outputs = sum(prod(layer.shape) for layer in plan.layers) + prod(plan.image)
    amounts = (
        1.0,
        float(image_bytes),
        float(FLOAT_BYTES * plan.parameters),
        float(FLOAT_BYTES * spec.training.batch_size * outputs),
    )
    return Peak(estimate_training_bytes(spec, plan, count, 1), measured, amounts)


def _image_set(network: Network) -> Any:
    """Noise images: their content takes no memory."""
    from analysis.arrays.dataset import ImageSet

    held_out = min(1000, max(10, network.count // 6))
    count = network.count + 2 * held_out
    drawn = np.random.default_rng(0)
    ends = {
        "train": (0, network.count),
        "validation": (network.count, count - held_out),
        "test": (count - held_out, count),
    }
    return ImageSet(
        images=drawn.integers(0, 256, (count, *network.image), np.uint8),
        labels=(np.arange(count) % 10).astype(np.int32),
        splits={name: np.arange(*end, dtype=np.int64) for name, end in ends.items()},
        classes=tuple("0123456789"),
        value_range=(0, 255),
    )


def _run(spec: JobSpec, data: Path, seeds: int) -> int:
    """Return the peak of this process in bytes, after trainings with this many seeds."""
    from worker.machine.memory import read_peak_bytes
    from worker.messages import AssignedDataset, AssignedMachine, Assignment, Finished
    from worker.training import runner

    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as scratch:
        cores, precision = len(os.sched_getaffinity(0)), spec.training.precision
        machine = AssignedMachine(precision=precision, towers="auto", cores=cores)
        assignment = Assignment("job_memory", spec, AssignedDataset(data), Path(scratch), machine)
        with ExitStack() as in_use:
            prepared = runner.prepare(assignment, lambda: None, in_use)
            for seed in range(seeds):
                if seed:
                    training = spec.training.model_copy(update={"seed": seed})
                    assignment = replace(assignment, spec=spec.model_copy(update={"training": training}))
                    prepared.begin_again(assignment)
                done = runner._train(assignment, prepared, lambda message: None, lambda: None)
                assert isinstance(done, Finished), done
    return read_peak_bytes(os.getpid())


if __name__ == "__main__":
    main(sys.argv[1:])
