"""Short jobs through `heldout up`, compared with the model of waiting times.

`python -m benchmarks.capacity [FILE]` appends to FILE (JSON Lines; `build/capacity.jsonl` by default) and continues
an interrupted run. First, a burst shows how many jobs a worker does per minute. Then batches of jobs arrive
independently, at a share of that rate. Each batch begins with an empty queue. This takes about eight minutes on two
quiet cores. `--burst 8 --batches 2 --jobs 10` (with another FILE) takes one minute, to see that it works.
"""

import argparse
import json
import os
import random
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.queueing import mean_wait_s, waits_of
from examples.demo import TemporaryService
from heldout.client.client import Client
from heldout.views.job import JobView

FILE = Path("build/capacity.jsonl")
SPEC: dict[str, Any] = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 4}]},
    "training": {"epochs": 1, "precision": "float32", "seed": 1},
    "resources": {"towers": 1},
}
WARM_UP = 4
USE = 0.7


@dataclass(frozen=True)
class Batch:
    """The jobs of one run: times since its beginning, and seconds in a slot."""

    kind: str
    slots: int
    arrivals_s: list[float]
    waits_s: list[float]
    lengths_s: list[float]
    span_s: float


def main() -> None:
    """Run what the file lacks, then print its results."""
    options = _options()
    path: Path = options.file
    path.parent.mkdir(parents=True, exist_ok=True)
    done = read(path)
    batches = sum(one.kind == "batch" for one in done)
    missing = [] if any(one.kind == "burst" for one in done) else [("burst", options.burst)]
    missing += [("batch", options.jobs)] * (options.batches - batches)
    if missing:
        with TemporaryService() as service, Client(service.url, service.api_key) as client:
            _run_all(client, [SPEC] * WARM_UP, [0.0] * WARM_UP)
            for kind, count in missing:
                batch = _measured(client, kind, count, done)
                done.append(batch)
                with path.open("a") as file:
                    file.write(json.dumps(asdict(batch)) + "\n")
                print(f"{kind} of {count} jobs: {batch.span_s:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    report(done)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity")
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--burst", type=int, default=24, metavar="N", help="jobs that are submitted at once")
    parser.add_argument("--batches", type=int, default=5, metavar="N")
    parser.add_argument("--jobs", type=int, default=100, metavar="N", help="jobs of a batch")
    return parser.parse_args()


def read(path: Path) -> list[Batch]:
    return [Batch(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def per_minute(done: list[Batch]) -> float:
    """Measure how many jobs finish per minute while more are waiting than there are slots."""
    bursts = [one for one in done if one.kind == "burst"]
    return 60 * sum(len(one.lengths_s) for one in bursts) / sum(one.span_s for one in bursts)


def _measured(client: Client, kind: str, count: int, done: list[Batch]) -> Batch:
    arrivals = [0.0] * count
    if kind == "batch":
        chance = random.Random(sum(one.kind == "batch" for one in done))
        rate = USE * per_minute(done) / 60
        arrivals = list(accumulate(chance.expovariate(rate) for _ in range(count)))
    jobs, slots = _run_all(client, [SPEC] * count, arrivals)
    first = jobs[0].queued_at
    return Batch(
        kind=kind,
        slots=slots,
        arrivals_s=[(job.queued_at - first).total_seconds() for job in jobs],
        waits_s=[_seconds(job.queued_at, job.started_at) for job in jobs],
        lengths_s=[_seconds(job.started_at, job.finished_at) for job in jobs],
        span_s=max(_seconds(first, job.finished_at) for job in jobs),
    )


def _seconds(begin: Any, end: Any) -> float:
    return float((end - begin).total_seconds())


def _run_all(client: Client, specs: list[dict[str, Any]], arrivals: list[float]) -> tuple[list[JobView], int]:
    """Submit each spec at its time. Return the jobs once all have succeeded, and the most that ran at once."""
    began, ids = time.monotonic(), []
    for spec, moment in zip(specs, arrivals, strict=True):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        ids.append(client.jobs.create(spec).id)
    jobs = []
    for job_id in ids:
        while not (job := client.jobs.poll(job_id)).has_ended:
            pass
        if job.status != "succeeded":
            raise SystemExit(f"{job.id} is {job.status}: {job.error}")
        jobs.append(job)
    ends = [(job.started_at, 1) for job in jobs] + [(job.finished_at, -1) for job in jobs]
    running = most = 0
    for _, change in sorted(ends, key=lambda one: (one[0], one[1])):
        running += change
        most = max(most, running)
    return jobs, most


def report(done: list[Batch]) -> None:
    """Print the measurements, and what the model predicts for the same arrivals and lengths."""
    print(f"{per_minute(done):.0f} jobs a minute while more wait than there are slots")
    batches = [one for one in done if one.kind == "batch"]
    if not batches:
        return
    slots = max(one.slots for one in done)
    lengths = [one for batch in batches for one in batch.lengths_s]
    waits = [one for batch in batches for one in batch.waits_s]
    played = [wait for batch in batches for wait in waits_of(batch.arrivals_s, batch.lengths_s, slots)]
    arrivals_per_s = len(waits) / sum(batch.arrivals_s[-1] for batch in batches)
    mean, spread = statistics.mean(lengths), statistics.variance(lengths) / statistics.mean(lengths) ** 2
    print(f"{len(waits)} jobs, {arrivals_per_s:.2f} a second, {slots} slots, {mean:.2f} s long (spread {spread:.2f})")
    print(f"slots in use: {arrivals_per_s * mean / slots:.0%}")
    print("\n| wait, in seconds | mean | half wait at most | 95 % wait at most |\n|---|---|---|---|")
    print(_row("measured", waits, _mean_of(batches)))
    print(_row("a simulated queue with the same arrivals and lengths", played, f"{statistics.mean(played):.2f}"))
    if arrivals_per_s * mean < slots:
        print(f"| the formula | {mean_wait_s(arrivals_per_s, mean, slots, spread=spread):.2f} | | |\n")
    else:
        print("| the formula | without end: jobs came in faster than slots ended them | | |\n")
    free = [wait for wait, simulated in zip(waits, played, strict=True) if simulated == 0]
    if free:
        print(
            f"the {len(free)} jobs that wait 0 s in the simulated queue wait {statistics.median(free):.2f} s (median)"
        )


def _row(name: str, waits_s: list[float], mean: str) -> str:
    ordered = sorted(waits_s)
    half, most = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    return f"| {name} | {mean} | {half:.2f} | {most:.2f} |"


def _mean_of(batches: list[Batch]) -> str:
    """The mean wait, and its standard error over batches."""
    means = [statistics.mean(batch.waits_s) for batch in batches]
    mean = f"{statistics.mean(means):.2f}"
    return f"{mean} ± {statistics.stdev(means) / len(means) ** 0.5:.2f}" if len(means) > 1 else mean


if __name__ == "__main__":
    main()
