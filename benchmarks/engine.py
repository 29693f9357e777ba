"""Whole trainings through the service and what a user would write for the same result, alternating in one run.

`BENCH_QUICK=1` runs one short round and leaves the page unchanged; `BENCH_ROUNDS` sets the number of rounds.
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import naive
from benchmarks.engine_tables import (
    EPOCHS,
    QUICK,
    ROUNDS,
    STARTS,
    TARGETS,
    Row,
    Service,
    conditions,
    epoch_s,
    flops_table,
    jobs_table,
    parts_table,
    spread,
)
from benchmarks.naive import Naive
from examples.demo import TemporaryService
from heldout.client.client import Client
from heldout.spec.job import JobSpec
from tests.e2e.running import processes_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "measurements" / "engine.md"
BEGIN, END = "<!-- figures of `make bench ARGS=engine`: begin -->", "<!-- figures: end -->"

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S = 0.1
CALIBRATED_WITHIN_S = 180
WORK = {"A": "overfit", "B": "regularized", "C": "augmented", "C augmented": "augmented"}
# Further networks whose time an estimate is asked for; nothing else is done with them.
OTHERS: tuple[dict[str, Any], ...] = (
    {"blocks": [{"filters": 8, "padding": "same"}, {"filters": 8, "padding": "same"}]},
    {"blocks": [{"filters": 64, "kernel_size": 5}], "head": "global_average"},
    {"blocks": [{"filters": 16, "batch_norm": True, "repeat": 2}, {"filters": 32, "batch_norm": True}]},
    {"blocks": [{"filters": 12}], "dense": [{"units": 256, "dropout": 0.5}]},
)


def main() -> None:
    """Print the tables; a complete run also writes them into the page."""
    rows = {name: Row() for name in TARGETS}
    with TemporaryService() as service, Client(service.url, service.api_key) as client:
        text = "\n".join(_measure(client, service, rows))
    print(text)
    if not QUICK:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _measure(client: Client, service: TemporaryService, rows: dict[str, Row]) -> Iterator[str]:
    folder = service.folder
    _through_service(client, folder, _spec("A", 1))  # the worker imports TensorFlow
    _until_calibrated(client)
    estimates = {name: client.jobs.estimate(_spec(name)).seconds_per_epoch for name in WORK}
    peer: list[Naive] = []
    for number in range(1, ROUNDS + 1):
        for (name, row), work in zip(rows.items(), [*WORK, "A"], strict=True):
            print(f"round {number} of {ROUNDS}: {name}", file=sys.stderr, flush=True)
            spec = _spec(work)
            if name.startswith("two"):
                first, second = naive.train(spec), naive.train(spec)
                threads = max(first.threads, second.threads)
                both = Naive(first.wall_s + second.wall_s, first.cpu_s + second.cpu_s, threads, first.epoch_s)
                row.theirs.append(both)
                row.ours.append(_through_service(client, folder, spec, spec))
            else:
                row.theirs.append(naive.train(spec))
                row.ours.append(_through_service(client, folder, spec))
        if (plain := naive.train_with_torch(_spec("A"))) is not None:
            peer.append(plain)
    waits = [_until_first_step(client, folder / "home" / "logs" / "worker.log") for _ in range(STARTS)]
    yield from conditions()
    yield ""
    yield from jobs_table(rows)
    yield ""
    yield from parts_table(rows, waits, {name: _checkpoint_shares(name) for name in ("A", "B", "C augmented")})
    yield ""
    yield from flops_table(rows, _spec)
    if peer:
        shares = [
            first.wall_s / second.wall_s for first, second in zip(rows["A, one job alone"].ours, peer, strict=True)
        ]
        yield f"\nA plain PyTorch loop for A, in the same rounds: the engine's share of its time is {spread(shares)}."
    else:
        yield "\nPyTorch is not installed here: no plain PyTorch loop was measured."
    yield ""
    yield from _estimate_lines(client, folder, rows, estimates)


def _estimate_lines(
    client: Client, folder: Path, rows: dict[str, Row], estimates: dict[str, float | None]
) -> Iterator[str]:
    """How far `dry_run` was off: for single networks, and for some that the calibration cannot have seen."""
    pairs = [
        (estimates[name], epoch_s(one.metrics[0]))
        for name, row in zip(WORK, rows.values(), strict=False)
        for one in row.ours[-1:]
    ]
    for network in OTHERS:
        spec = _spec("A", 4) | {"network": network}
        guess = client.jobs.estimate(spec).seconds_per_epoch
        pairs.append((guess, epoch_s(_through_service(client, folder, spec).metrics[0])))
    errors = [abs(guess - real) / real for guess, real in pairs if guess is not None]
    if not errors:
        yield "`dry_run` gave no `seconds_per_epoch`."
        return
    yield (
        f"`dry_run`'s `seconds_per_epoch` against {len(errors)} real jobs: off by "
        f"{100 * statistics.median(errors):.0f}% in the median, {100 * max(errors):.0f}% at worst. "
        "Estimated/measured seconds: "
        + ", ".join(f"{guess:.2f}/{real:.2f}" for guess, real in pairs if guess is not None)
        + "."
    )


def _through_service(client: Client, folder: Path, *specs: dict[str, Any]) -> Service:
    before, known = _processor_s(folder), set(processes_of(folder))
    with _threads_of_new(folder, known) as threads:
        ids = [client.jobs.create(spec).id for spec in specs]
        jobs = [_ended(client, id_) for id_ in ids]
    cpu = _processor_s(folder) - before
    started = min(job.started_at for job in jobs)
    finished = max(job.finished_at for job in jobs)
    metrics = [client.jobs.metrics(id_) for id_ in ids]
    return Service((finished - started).total_seconds(), cpu, threads[0], jobs, metrics)


def _until_first_step(client: Client, log: Path) -> float:
    """Measure the seconds from the response to the POST until the worker logs the first step."""
    job = client.jobs.create(_spec("A", 1) | {"resources": {"towers": 1}})
    answered = time.time()
    _ended(client, job.id)
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"first_step"' in line and job.id in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() - answered
    raise SystemExit(f"The log has no first step of {job.id}.")


def _until_calibrated(client: Client) -> None:
    """Wait until the worker has measured its machine, which it does while idle."""
    deadline = time.monotonic() + CALIBRATED_WITHIN_S
    while client.jobs.estimate(_spec("A")).seconds_per_epoch is None:
        if time.monotonic() > deadline:
            raise SystemExit("The worker has not calibrated itself.")
        time.sleep(0.5)


def _ended(client: Client, job_id: str) -> Any:
    while (job := client.jobs.poll(job_id)) is None or job.status in {"queued", "running"}:
        pass
    if job.status != "succeeded":
        raise SystemExit(f"{job_id} is {job.status}: {job.error}")
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
    """Return the processor time of the whole service, with everything that it has started and waited for."""
    ticks = 0
    for pid in processes_of(folder):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def _checkpoint_shares(name: str) -> list[float]:
    """For each of some epochs: the time of writing the state over the time of training."""
    shares: list[float] = naive.in_process(_time_checkpoints, _spec(name))
    return shares


def _time_checkpoints(spec: dict[str, Any]) -> list[float]:
    import numpy as np

    from models.bundled import BUNDLED
    from tests.worker.training.trainings import Training
    from worker.training.engine.checkpoint import FitSums

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


if __name__ == "__main__":
    main()
