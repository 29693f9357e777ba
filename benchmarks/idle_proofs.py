"""How long a job takes from its POST to its first step while an idle worker proves a verdict by itself.

`python -m benchmarks.idle_proofs [ROUNDS]` starts a service with one slot, and compares with the same worker at rest.
"""

import json
import sys
import tempfile
import time
from calendar import timegm
from pathlib import Path
from statistics import median

from heldout.client.client import Client
from tests.e2e.running import Service, spec

PATIENCE_S = 120
# Long enough that a proof still runs when the next job arrives.
PROVEN = {"training": {"epochs": 30, "seed": 7}, "network": {"blocks": [{"filters": 16}, {"filters": 32}]}}
SMALL = {"training": {"epochs": 1, "train_limit": 200, "seed": 7}, "network": {"blocks": [{"filters": 4}]}}


def measure_first_step(client: Client, log: Path) -> float:
    """Submit a small job. Returns the seconds from its POST to its first step, by the worker's log."""
    posted = time.time()
    job = client.jobs.create({**spec("overfit"), **SMALL})
    job.wait()
    steps = [json.loads(line) for line in log.read_text().splitlines() if '"first_step"' in line and job.id in line]
    at = time.strptime(steps[0]["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    return timegm(at) + float("0" + steps[0]["timestamp"][19:].rstrip("Z")) - posted


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"HELDOUT_CALIBRATE": "false", "HELDOUT_CHECK_LABELS": "false", "HELDOUT_SLOTS": "1"}
        service = Service(Path(folder, "home"), **quiet, HELDOUT_PROVE_IDLE_S="0").start()
        found: dict[str, list[float]] = {"at rest": [], "while proving": []}
        try:
            with service.client() as client:
                log = service.home / "logs" / "worker.log"
                measure_first_step(client, log)
                for _ in range(rounds):
                    time.sleep(2)
                    found["at rest"].append(measure_first_step(client, log))
        finally:
            service.close()
        service = Service(Path(folder, "proving"), **quiet, HELDOUT_PROVE_IDLE_S="600").start()
        try:
            with service.client() as client:
                log = service.home / "logs" / "worker.log"
                for _ in range(rounds):
                    job = client.jobs.create({**spec("overfit"), **PROVEN}).wait()
                    ends_at = time.monotonic() + PATIENCE_S
                    while not any(trial.status == "running" for trial in client.jobs.proof(job.id).trials):
                        if time.monotonic() > ends_at:
                            raise SystemExit("No proof has begun.")
                        time.sleep(0.2)
                    found["while proving"].append(measure_first_step(client, log))
        finally:
            service.close()
    for name, seconds in found.items():
        shown = ", ".join(f"{value:.2f}" for value in sorted(seconds))
        print(f"{name}: median {median(seconds):.2f} s of {len(seconds)} ({shown})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
