"""Whole trainings through the service beside what a user would write for the same result, in turn, in one run.

`BENCH_QUICK=1` makes one short round and leaves the page as it is; `BENCH_ROUNDS` sets the number of rounds.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import naive
from benchmarks.naive import Naive
from benchmarks.picture import shares_svg
from benchmarks.service import _until_first_step
from heldout.client import Client
from heldout.demo.service import TemporaryService, processes_of
from heldout.layers import plan_network
from heldout.spec import JobSpec

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "performance.md"
PICTURE = PAGE.with_suffix(".svg")
BEGIN, END = "<!-- figures of `make bench ARGS=engine`: begin -->", "<!-- figures: end -->"

QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1" if QUICK else "5"))
EPOCHS = 3 if QUICK else 10
STARTS = 3 if QUICK else 10
CORES = len(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S = 0.1
CALIBRATED_WITHIN_S = 180
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
WORK = {"A": "overfit", "B": "regularized", "C": "augmented", "C augmented": "augmented"}
# Further networks whose time an estimate is asked for; nothing else is done with them.
OTHERS: tuple[dict[str, Any], ...] = (
    {"blocks": [{"filters": 8, "padding": "same"}, {"filters": 8, "padding": "same"}]},
    {"blocks": [{"filters": 64, "kernel_size": 5}], "head": "global_average"},
    {"blocks": [{"filters": 16, "batch_norm": True, "repeat": 2}, {"filters": 32, "batch_norm": True}]},
    {"blocks": [{"filters": 12}], "dense": [{"units": 256, "dropout": 0.5}]},
)


@dataclass
class Service:
    """A job, or several at once, from the claim of the first to the end of the last."""

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
        return [one.wall_s / other.wall_s for one, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def cpu_shares(self) -> list[float]:
        return [one.cpu_s / other.cpu_s for one, other in zip(self.ours, self.theirs, strict=True)]


def main() -> None:
    """Print the tables; a whole run writes them into the page, too, and draws the picture beside it."""
    service = TemporaryService()
    rows = {name: Row() for name in TARGETS}
    try:
        service.start()
        found = service.wait_until_ready()
        with Client(found.url, found.api_key) as client:
            text = "\n".join(_measure(client, service, rows))
    finally:
        service.stop(hurry=lambda: False)
    print(text)
    if not QUICK:
        PICTURE.write_text(shares_svg({name: row.shares for name, row in rows.items()}, TARGETS), encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _measure(client: Client, service: TemporaryService, rows: dict[str, Row]) -> Iterator[str]:
    folder = service.folder
    _through_service(client, folder, _spec("A", 1))  # the worker imports TensorFlow
    _until_calibrated(client)
    estimates = {name: client.estimate(_spec(name))["seconds_per_epoch"] for name in WORK}
    peer: list[Naive] = []
    for number in range(1, ROUNDS + 1):
        for (name, row), work in zip(rows.items(), [*WORK, "A"], strict=True):
            print(f"round {number} of {ROUNDS}: {name}", file=sys.stderr, flush=True)
            spec = _spec(work)
            if name.startswith("two"):
                one, other = naive.train(spec), naive.train(spec)
                threads = max(one.threads, other.threads)
                both = Naive(one.wall_s + other.wall_s, one.cpu_s + other.cpu_s, threads, one.epoch_s)
                row.theirs.append(both)
                row.ours.append(_through_service(client, folder, spec, spec))
            else:
                row.theirs.append(naive.train(spec))
                row.ours.append(_through_service(client, folder, spec))
        if (plain := naive.train_with_torch(_spec("A"))) is not None:
            peer.append(plain)
    waits = [_until_first_step(client, service.folder / "home" / "logs" / "worker.log") for _ in range(STARTS)]
    yield from _conditions()
    yield f"\n![Each work's share of the time of the naive way]({PICTURE.name})\n"
    yield from _jobs_table(rows)
    yield ""
    yield from _parts_table(rows, waits)
    yield ""
    yield from _flops_table(rows)
    if peer:
        shares = [one.wall_s / other.wall_s for one, other in zip(rows["A, one job alone"].ours, peer, strict=True)]
        yield f"\nA plain PyTorch loop for A, in the same rounds: the engine's share of its time is {_spread(shares)}."
    else:
        yield "\nPyTorch is not installed here: no plain PyTorch loop was measured."
    yield ""
    yield from _estimate_lines(client, folder, rows, estimates)


def _conditions() -> Iterator[str]:
    when = datetime.now().astimezone().date().isoformat()
    load = os.getloadavg()[0]
    yield (
        f"Measured on {when}: {_processor()}, {CORES} cores; Python {platform.python_version()}, TensorFlow "
        f"{_version_of('tensorflow')}, Keras {version('keras')}; {ROUNDS} rounds of {EPOCHS} epochs at batch 32; "
        f"load average at the end {load:.1f}."
    )


def _jobs_table(rows: dict[str, Row]) -> Iterator[str]:
    yield (
        "| work | service, s | naive, s | share: median (min–max) | good · excellent | processor time, share | "
        "threads: service · naive | CPU share: service · naive |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        good, excellent = TARGETS[name]
        ours, theirs = row.ours, row.theirs
        told = ours[-1].jobs[0]["engine"]
        shape = f"{told['towers']} tower{'s' if told['towers'] > 1 else ''}"
        yield (
            f"| {name} | {_middle(one.wall_s for one in ours)} (min {min(one.wall_s for one in ours):.2f}) | "
            f"{_middle(one.wall_s for one in theirs)} (min {min(one.wall_s for one in theirs):.2f}) | "
            f"**{_spread(row.shares)}** | {good:.2f} · {excellent:.2f} | {statistics.median(row.cpu_shares):.2f} | "
            f"{max(one.threads for one in ours)} ({shape}) · {max(one.threads for one in theirs)} | "
            f"{_cpu_share(ours)} · {_cpu_share(theirs)} |"
        )


def _parts_table(rows: dict[str, Row], waits: list[float]) -> Iterator[str]:
    yield "| part | median (min–max) | good · excellent |"
    yield "|---|---|---|"
    yield f"| POST answered → first step done, warm worker, of {len(waits)} | {_spread(waits, ' s')} | 1.0 · 0.7 s |"
    for letter in ("A", "B", "C"):
        row = rows[f"{letter}, one job alone"]
        shares = [
            _epochs_median(ours.metrics[0], "evaluation_seconds") / theirs.epoch_s
            for ours, theirs in zip(row.ours, row.theirs, strict=True)
        ]
        yield (
            f"| {letter}: measuring the training and the validation split, share of a naive epoch | "
            f"{_spread(shares, ' %', 100)} | 19 · 12 % |"
        )
    yield f"| A: a checkpoint, share of the engine's own epoch | {_spread(_checkpoint_shares(), ' %', 100)} | 5 · 2 % |"


def _flops_table(rows: dict[str, Row]) -> Iterator[str]:
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
        network = JobSpec.model_validate(_spec(letter)).network
        step = PASSES * plan_network(network, (28, 28, 1), 10).flops_per_image
        reached = [step * _epochs_median(one.metrics[0], "images_per_second") for one in row.ours]
        cores = row.ours[-1].jobs[0]["engine"]["towers"]
        middle = statistics.median(reached)
        yield f"| {letter} | {middle / 1e9:.0f} | {100 * middle / peaks.get(cores, peaks[CORES]):.0f} % |"


def _estimate_lines(
    client: Client, folder: Path, rows: dict[str, Row], estimates: dict[str, float | None]
) -> Iterator[str]:
    """How far `dry_run` was off: named networks alone, and some that the calibration cannot have seen."""
    pairs = [
        (estimates[name], _epoch_s(one.metrics[0]))
        for name, row in zip(WORK, rows.values(), strict=False)
        for one in row.ours[-1:]
    ]
    for network in OTHERS:
        spec = _spec("A", 4) | {"network": network}
        guess = client.estimate(spec)["seconds_per_epoch"]
        pairs.append((guess, _epoch_s(_through_service(client, folder, spec).metrics[0])))
    errors = [abs(guess - real) / real for guess, real in pairs if guess is not None]
    if not errors:
        yield "`dry_run` gave no `seconds_per_epoch`."
        return
    yield (
        f"`dry_run`'s `seconds_per_epoch` against {len(errors)} real jobs: off by "
        f"{100 * statistics.median(errors):.0f} % in the median, {100 * max(errors):.0f} % at worst ("
        + "; ".join(f"{guess:.2f} for {real:.2f} s" for guess, real in pairs if guess is not None)
        + ")."
    )


def _through_service(client: Client, folder: Path, *specs: dict[str, Any]) -> Service:
    before, known = _processor_s(folder), set(processes_of(folder))
    with _threads_of_new(folder, known) as threads:
        ids = [client.submit(spec)["id"] for spec in specs]
        jobs = [_ended(client, id_) for id_ in ids]
    cpu = _processor_s(folder) - before
    started = min(datetime.fromisoformat(job["started_at"]) for job in jobs)
    finished = max(datetime.fromisoformat(job["finished_at"]) for job in jobs)
    metrics = [client.metrics(id_) for id_ in ids]
    return Service((finished - started).total_seconds(), cpu, threads[0], jobs, metrics)


def _until_calibrated(client: Client) -> None:
    """Wait for the worker to have measured itself, which it does while it is idle."""
    deadline = time.monotonic() + CALIBRATED_WITHIN_S
    while client.estimate(_spec("A"))["seconds_per_epoch"] is None:
        if time.monotonic() > deadline:
            raise SystemExit("The worker has not calibrated itself.")
        time.sleep(0.5)


def _ended(client: Client, job_id: str) -> Any:
    while (job := client.wait(job_id)) is None or job["status"] in {"queued", "running"}:
        pass
    if job["status"] != "succeeded":
        raise SystemExit(f"{job_id} is {job['status']}: {job['error']}")
    return job


@contextmanager
def _threads_of_new(folder: Path, known: set[int]) -> Iterator[list[int]]:
    """In its only item: the most threads that processes which were not known before had together."""
    most, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_EVERY_S):
            counts = []
            for pid in set(processes_of(folder)) - known:
                try:
                    counts.append(len(os.listdir(f"/proc/{pid}/task")))
                except OSError:
                    continue
            most[0] = max(most[0], sum(counts))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _processor_s(folder: Path) -> float:
    """Processor time of the whole service, and of what it has started and waited for."""
    ticks = 0
    for pid in processes_of(folder):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def _checkpoint_shares() -> list[float]:
    """For each of some epochs of A: the time of writing the state over the time of training."""
    shares: list[float] = naive.in_process(_time_checkpoints, _spec("A"))
    return shares


def _time_checkpoints(spec: dict[str, Any]) -> list[float]:
    import numpy as np

    from models.bundled import BUNDLED
    from tests.worker.training.trainings import Training
    from worker.training.engine import FitSums

    shares = []
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        parts = Training(JobSpec.model_validate(spec), BUNDLED["mnist5k"].read(Path()), Path(folder))
        steps = parts.engine.steps_per_epoch
        for epoch in range(1, EPOCHS + 2):
            parts.engine.begin_epoch(epoch, np.full(steps, 0.001, np.float32))
            began = time.perf_counter()
            parts.engine.run(0, steps, FitSums())
            trained = time.perf_counter()
            parts.trainer.write()
            shares.append((time.perf_counter() - trained) / (trained - began))
    return shares[1:]  # the first epoch traces


def _spec(name: str, epochs: int = EPOCHS) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((ROOT / "examples" / f"{WORK[name]}.json").read_text())
    spec["training"]["epochs"] = epochs
    if name == "C":
        del spec["augmentation"]
    return spec


def _epochs_median(metrics: Any, name: str) -> float:
    return statistics.median(epoch[name] for epoch in metrics["epochs"][1:] or metrics["epochs"])


def _epoch_s(metrics: Any) -> float:
    return _epochs_median(metrics, "seconds") + _epochs_median(metrics, "evaluation_seconds")


def _middle(values: Iterator[float]) -> str:
    return f"{statistics.median(values):.2f}"


def _spread(values: Sequence[float], unit: str = "", factor: float = 1.0) -> str:
    places = 1 if factor == 100 else 2
    middle, low, high = (factor * value for value in (statistics.median(values), min(values), max(values)))
    return f"{middle:.{places}f}{unit} ({low:.{places}f}–{high:.{places}f})"


def _cpu_share(sides: Sequence[Service] | Sequence[Naive]) -> str:
    return f"{100 * statistics.median(side.cpu_s / side.wall_s / CORES for side in sides):.0f} %"


def _version_of(package: str) -> str:
    """The build for processors alone is a package of another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return version(f"{package}-cpu")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
