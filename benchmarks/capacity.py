"""Short jobs through `heldout up`, beside what the model of waiting jobs says of them.

`python -m benchmarks.capacity [FILE]` appends to FILE (JSON Lines; `build/capacity.jsonl` by default) and goes on
where it was stopped: first bursts that say how many jobs a worker does in a minute, then batches of jobs that arrive
independently of each other, at a share of that. Each batch begins with an empty queue.
"""

import json
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.queueing import mean_wait_s, waits_of
from heldout.client import Client
from heldout.demo.service import TemporaryService
from heldout.views.job import JobView

FILE = Path("build/capacity.jsonl")
SPEC: dict[str, Any] = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 4}]},
    "training": {"epochs": 1, "precision": "float32", "seed": 1},
    "resources": {"towers": 1},
}
WARM_UP = 4
BURSTS, JOBS_OF_BURST = 1, 24
BATCHES, JOBS_OF_BATCH = 5, 100
USE = 0.7


@dataclass(frozen=True)
class Batch:
    """Jobs of one run: moments since its beginning, and seconds in a slot."""

    kind: str
    slots: int
    arrivals_s: list[float]
    waits_s: list[float]
    lengths_s: list[float]
    span_s: float


def main(path: Path) -> None:
    """Run what the file lacks, then print what it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = read(path)
    kinds = [one.kind for one in done]
    missing = ["burst"] * (BURSTS - kinds.count("burst")) + ["batch"] * (BATCHES - kinds.count("batch"))
    if missing:
        service = TemporaryService()
        try:
            service.start()
            found = service.wait_until_ready()
            with Client(found.url, found.api_key) as client:
                _run_all(client, [SPEC] * WARM_UP, [0.0] * WARM_UP)
                for kind in missing:
                    batch = _measured(client, kind, done)
                    done.append(batch)
                    with path.open("a") as file:
                        file.write(json.dumps(asdict(batch)) + "\n")
        finally:
            service.stop(hurry=lambda: False)
    report(done)


def read(path: Path) -> list[Batch]:
    return [Batch(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def per_minute(done: list[Batch]) -> float:
    """Jobs a minute while more wait than there are slots."""
    bursts = [one for one in done if one.kind == "burst"]
    return 60 * sum(len(one.lengths_s) for one in bursts) / sum(one.span_s for one in bursts)


def _measured(client: Client, kind: str, done: list[Batch]) -> Batch:
    if kind == "burst":
        count, arrivals = JOBS_OF_BURST, [0.0] * JOBS_OF_BURST
    else:
        chance = random.Random(sum(one.kind == "batch" for one in done))
        count, rate, arrivals, moment = JOBS_OF_BATCH, USE * per_minute(done) / 60, [], 0.0
        for _ in range(count):
            arrivals.append(moment := moment + chance.expovariate(rate))
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
    """Submit each spec at its moment; the jobs once all have succeeded, and how many ran at once at most."""
    began, ids = time.monotonic(), []
    for spec, moment in zip(specs, arrivals, strict=True):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        ids.append(client.submit(spec).id)
    jobs = []
    for job_id in ids:
        while not (job := client.wait(job_id)).has_ended:
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
    """Print what was measured, and what the model says of the same arrivals and lengths."""
    print(f"{per_minute(done):.0f} jobs a minute while more wait than there are slots")
    batches = [one for one in done if one.kind == "batch"]
    slots = max(one.slots for one in done)
    lengths = [one for batch in batches for one in batch.lengths_s]
    waits = [one for batch in batches for one in batch.waits_s]
    arrivals_per_s = len(waits) / sum(batch.arrivals_s[-1] for batch in batches)
    mean, spread = statistics.mean(lengths), statistics.variance(lengths) / statistics.mean(lengths) ** 2
    played = [one for batch in batches for one in waits_of(batch.arrivals_s, batch.lengths_s, slots)]
    print(f"{len(waits)} jobs, {arrivals_per_s:.2f} a second, {slots} slots, {mean:.3f} s long (spread {spread:.2f})")
    print(f"slots in use: {arrivals_per_s * mean / slots:.0%}")
    print(f"mean wait, measured: {_with_error(waits, batches)}")
    print(f"mean wait, queue played with these arrivals and lengths: {statistics.mean(played):.3f} s")
    print(f"mean wait, M/G/c: {mean_wait_s(arrivals_per_s, mean, slots, spread=spread):.3f} s")
    idle = [
        wait
        for batch in batches
        for wait, other in zip(batch.waits_s, waits_of(batch.arrivals_s, batch.lengths_s, slots), strict=True)
        if other == 0
    ]
    print(f"wait of jobs that found a slot free, median: {statistics.median(idle):.3f} s")


def _with_error(waits: list[float], batches: list[Batch]) -> str:
    means = [statistics.mean(batch.waits_s) for batch in batches]
    error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else float("nan")
    return f"{statistics.mean(waits):.3f} ± {error:.3f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FILE)
