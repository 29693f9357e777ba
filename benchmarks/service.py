"""What the service adds to a training: its wall time over the same training called directly, and the time to start."""

import json
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.arrays.dataset import save
from examples.demo import TemporaryService
from heldout.client.client import Client
from models import bundled
from worker.messages import Assignment, Failed, Finished
from worker.supervision import processes
from worker.supervision.processes import TrainingProcess

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
STARTS = 10
JOB_S = 30


def main() -> None:
    """Print both figures with their medians, minima and maxima."""
    with TemporaryService() as service, Client(service.url, service.api_key) as client:
        _measure(client, service.folder / "home" / "logs" / "worker.log")


def _measure(client: Client, log: Path) -> None:
    processes.warm_up()
    _through_the_service(client, _spec(1))
    # An idle worker measures its machine once, and would do so beside the first training that is called directly.
    while client.estimate(_spec(1)).seconds_per_epoch is None:
        time.sleep(1)
    spec = _spec(10)
    spec["training"]["epochs"] = max(1, round(10 * JOB_S / _directly(spec)))
    pairs = [(_directly(spec), _through_the_service(client, spec)) for _ in range(ROUNDS)]
    ratios = [through / direct for direct, through in pairs]
    print(f"One job of about {JOB_S} s ({spec['training']['epochs']} epochs of examples/overfit.json), in turn:")
    _print("directly, s", [direct for direct, _ in pairs])
    _print("through the service, s", [through for _, through in pairs])
    _print("ratio (at most 1.05)", ratios)
    waits = [_until_first_step(client, log) for _ in range(STARTS)]
    print("POST answered → first training step done, on a warm worker:")
    _print("s (median under 1)", waits)


def _spec(epochs: int) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((ROOT / "examples" / "overfit.json").read_text())
    spec["training"]["epochs"] = epochs
    spec["resources"] = {"towers": 1}  # as the training beside it has
    return spec


def _directly(spec: dict[str, Any]) -> float:
    """Seconds of the training alone: a warm process, no API, no database, nothing stored."""
    from heldout.spec.job import JobSpec

    complete = JobSpec.model_validate(spec).completed(name="direct", seed=7)
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        data, scratch = Path(folder, "data"), Path(folder, "scratch")
        data.mkdir()
        scratch.mkdir()
        save(bundled.BUNDLED["mnist5k"].read(Path()), data)
        began = time.perf_counter()
        process = TrainingProcess(
            Assignment("job_direct", 1, complete, str(data), str(scratch), None, "cpu", threads=1, towers=1), scratch
        )
        while not isinstance(message := process.receive(1.0), Finished):
            if isinstance(message, Failed):
                raise SystemExit(message.detail)
        took = time.perf_counter() - began
        process.kill()
    return took


def _through_the_service(client: Client, spec: dict[str, Any]) -> float:
    """Seconds from the POST until the success is served."""
    began = time.perf_counter()
    job = client.submit(spec)
    while (job := client.wait(job.id) or job).status in {"queued", "running"}:
        pass
    took = time.perf_counter() - began
    if job.status != "succeeded":
        raise SystemExit(f"{job.id} is {job.status}: {job.error}")
    return took


def _until_first_step(client: Client, log: Path) -> float:
    """Seconds from the answer to the POST until the worker's log has the first step."""
    job = client.submit(_spec(1))
    answered = time.time()
    while (seen := client.wait(job.id)) is None or seen.status in {"queued", "running"}:
        pass
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"first_step"' in line and job.id in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() - answered
    raise SystemExit(f"The log has no first step of {job.id}.")


def _print(name: str, values: list[float]) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"  {name:<26} median {middle:7.3f}   min {low:7.3f}   max {high:7.3f}   of {len(values)}")
