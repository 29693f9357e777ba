"""Tables of `make bench ARGS=engine`: the measurements of both sides, and how they get into the page."""

import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import naive
from benchmarks.naive import Naive
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network

QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1" if QUICK else "5"))
EPOCHS = 3 if QUICK else 10
STARTS = 3 if QUICK else 10
CORES = len(os.sched_getaffinity(0))
# Forward, and backward for maps and for kernels: each as much as forward.
PASSES = 3

# Shares of the naive way's wall clock: good, excellent.
TARGETS = {
    "A, one job alone": (0.65, 0.50),
    "B, one job alone": (0.65, 0.50),
    "C, one job alone": (0.45, 0.33),
    "C augmented": (0.27, 0.15),
    "two A at once, against two in series": (0.60, 0.45),
}


@dataclass
class Service:
    """One job, or several at once, from the first claim to the last end."""

    wall_s: float
    cpu_s: float
    threads: int
    jobs: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)


@dataclass
class Row:
    """Both sides of one kind of work, round by round."""

    ours: list[Service] = field(default_factory=list)
    theirs: list[Naive] = field(default_factory=list)

    @property
    def shares(self) -> list[float]:
        return [first.wall_s / second.wall_s for first, second in zip(self.ours, self.theirs, strict=True)]

    @property
    def cpu_shares(self) -> list[float]:
        return [first.cpu_s / second.cpu_s for first, second in zip(self.ours, self.theirs, strict=True)]


def conditions() -> Iterator[str]:
    when = datetime.now().astimezone().date().isoformat()
    load = os.getloadavg()[0]
    yield (
        f"Measured on {when}: {_processor()}, {CORES} cores; Python {platform.python_version()}, TensorFlow "
        f"{_version_of('tensorflow')}, Keras {version('keras')}; {ROUNDS} rounds of {EPOCHS} epochs at batch 32; "
        f"load average at the end {load:.1f}."
    )


def jobs_table(rows: dict[str, Row]) -> Iterator[str]:
    yield (
        "| work | service, s | naive, s | share: median (min–max) | good · excellent | processor time, share | "
        "threads: service · naive | CPU share: service · naive |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        good, excellent = TARGETS[name]
        ours, theirs = row.ours, row.theirs
        engine = ours[-1].jobs[0].engine
        shape = f"{engine.towers} tower{'s' if engine.towers > 1 else ''}"
        yield (
            f"| {name} | {_middle(one.wall_s for one in ours)} (min {min(one.wall_s for one in ours):.2f}) | "
            f"{_middle(one.wall_s for one in theirs)} (min {min(one.wall_s for one in theirs):.2f}) | "
            f"**{spread(row.shares)}** | {good:.2f} · {excellent:.2f} | {statistics.median(row.cpu_shares):.2f} | "
            f"{max(one.threads for one in ours)} ({shape}) · {max(one.threads for one in theirs)} | "
            f"{_cpu_share(ours)} · {_cpu_share(theirs)} |"
        )


def parts_table(rows: dict[str, Row], waits: list[float], checkpoints: dict[str, list[float]]) -> Iterator[str]:
    yield "| part | median (min–max) | good · excellent |"
    yield "|---|---|---|"
    yield f"| POST answered → first step done, warm worker, of {len(waits)} | {spread(waits, ' s')} | 1.0 · 0.7 s |"
    for letter in ("A", "B", "C"):
        row = rows[f"{letter}, one job alone"]
        shares = [
            epochs_median(ours.metrics[0], "evaluation_seconds") / theirs.epoch_s
            for ours, theirs in zip(row.ours, row.theirs, strict=True)
        ]
        yield (
            f"| {letter}: measuring the training and the validation split, share of a naive epoch | "
            f"{spread(shares, '%', 100)} | 19 · 12% |"
        )
    for name, shares in checkpoints.items():
        yield f"| {name}: a checkpoint, share of the engine's own epoch | {spread(shares, '%', 100)} | 5 · 2% |"


def flops_table(rows: dict[str, Row], spec_of: Callable[[str], dict[str, Any]]) -> Iterator[str]:
    peaks = {cores: naive.peak_flops(cores) for cores in (1, CORES)}
    yield (
        f"Large float32 matrix products reach {peaks[1] / 1e9:.0f} GFLOP/s on one core and "
        f"{peaks[CORES] / 1e9:.0f} on {CORES}. A training step counts as {PASSES} forward passes."
    )
    yield ""
    yield "| work | GFLOP/s in the training steps | share of the peak of the cores it may use |"
    yield "|---|---|---|"
    for letter in ("A", "B", "C"):
        row = rows[f"{letter}, one job alone"]
        network = JobSpec.model_validate(spec_of(letter)).network
        step = PASSES * plan_network(network, (28, 28, 1), 10).flops_per_image
        reached = [step * epochs_median(one.metrics[0], "images_per_second") for one in row.ours]
        cores = row.ours[-1].jobs[0].engine.towers
        middle = statistics.median(reached)
        yield f"| {letter} | {middle / 1e9:.0f} | {100 * middle / peaks.get(cores, peaks[CORES]):.0f}% |"


def epochs_median(metrics: Any, name: str) -> float:
    return statistics.median(getattr(epoch, name) for epoch in metrics.epochs[1:] or metrics.epochs)


def epoch_s(metrics: Any) -> float:
    return epochs_median(metrics, "seconds") + epochs_median(metrics, "evaluation_seconds")


def _middle(values: Iterator[float]) -> str:
    return f"{statistics.median(values):.2f}"


def spread(values: Sequence[float], unit: str = "", factor: float = 1.0) -> str:
    places = 1 if factor == 100 else 2
    middle, low, high = (factor * value for value in (statistics.median(values), min(values), max(values)))
    return f"{middle:.{places}f}{unit} ({low:.{places}f}–{high:.{places}f})"


def _cpu_share(sides: Sequence[Service] | Sequence[Naive]) -> str:
    return f"{100 * statistics.median(side.cpu_s / side.wall_s / CORES for side in sides):.0f}%"


def _version_of(package: str) -> str:
    """Return the version; the build for processors alone is a package with another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return version(f"{package}-cpu")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
