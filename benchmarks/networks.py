"""Whole jobs of networks of many kinds through the service, and what a user would write, in turn in one run.

A job counts from its claim to its success. It measures training and validation after each epoch, writes checkpoints,
exports the model, predicts every split and measures its gap. The naive side is a script with `fit(validation_data=…)`,
an `evaluate` of the training and test splits at its end, and a saved model. Its imports and the loading of its images
are not counted. Both in 32 bits and in 16. The share of two jobs at once is of two such scripts in series.

`python -m benchmarks.networks [--networks NAME …] [--rounds N] [--steps] [--job JSON]`. All networks in three rounds
take about twenty minutes on a quiet machine with two cores. `--steps` times gradient steps alone.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine import _ended, _until_calibrated
from benchmarks.naive import in_process
from benchmarks.network_kinds import NETWORKS, Network, keras_model
from benchmarks.network_steps import print_steps
from examples.demo import TemporaryService
from heldout.client.client import Client

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 180
HEADINGS = (
    "network",
    "towers",
    "naive, s",
    "naive mixed",
    "job",
    "job, mixed",
    "job, mixed, of naive mixed",
    "`auto` is",
    "two jobs, `auto`",
)


@dataclass
class Times:
    """Seconds of each variant by round, and what the service chose."""

    naive: list[float] = field(default_factory=list)
    naive_mixed: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)
    job_mixed: list[float] = field(default_factory=list)
    two_jobs: list[float] = field(default_factory=list)
    towers: int = 0
    automatic: str = ""


def main(arguments: list[str]) -> None:
    """Print the table, each row as soon as its network is done."""
    given = _parsed(arguments)
    chosen = {name: one for name, one in NETWORKS.items() if not given.networks or _is_named(name, given.networks)}
    if given.steps:
        print_steps(chosen, given.rounds)
        return
    with TemporaryService() as service, Client(service.url, service.api_key) as client:
        _ended(client, client.jobs.create(json.loads((ROOT / "examples" / "overfit.json").read_text())).id)
        _until_calibrated(client)
        print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
        for number, (name, network) in enumerate(chosen.items(), 1):
            print(f"{number} of {len(chosen)}: {name}", file=sys.stderr, flush=True)
            print(_row(name, _measure(client, number, network, given.rounds, given.job)), flush=True)
    print(f"\n{given.rounds} rounds; load average at the end {os.getloadavg()[0]:.1f}.")


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="those whose names contain one of these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", action="store_true", help="time gradient steps alone")
    parser.add_argument("--job", type=json.loads, default={}, help="further fields of the jobs' specs, as JSON")
    return parser.parse_args(arguments)


def _is_named(name: str, parts: list[str]) -> bool:
    return any(part == name or (part in name and part not in NETWORKS) for part in parts)


def _measure(client: Client, number: int, network: Network, rounds: int, more: dict[str, Any]) -> Times:
    times = Times()
    dataset = _upload(client, f"bench{number}", network)
    for _ in range(rounds):
        times.naive.append(in_process(_naive, (network, False)))
        seconds, (job,) = _jobs(client, [_spec(dataset, network, "float32", more)])
        times.job.append(seconds)
        times.towers = job.engine.towers
        times.naive_mixed.append(in_process(_naive, (network, True)))
        times.job_mixed.append(_jobs(client, [_spec(dataset, network, "mixed", more)])[0])
        seconds, (job, _) = _jobs(client, [_spec(dataset, network, "auto", more)] * 2)
        times.two_jobs.append(seconds)
        times.automatic = job.engine.precision or "float32"
    return times


def _row(name: str, times: Times) -> str:
    cells = [
        name,
        str(times.towers),
        f"{statistics.median(times.naive):.2f}",
        _share(times.naive_mixed, times.naive),
        _share(times.job, times.naive),
        _share(times.job_mixed, times.naive),
        _share(times.job_mixed, times.naive_mixed),
        times.automatic,
        _share(times.two_jobs, [2 * seconds for seconds in times.naive]),
    ]
    return f"| {' | '.join(cells)} |"


def _share(seconds: list[float], of: list[float]) -> str:
    """The median over rounds, and the extremes."""
    shares = [second / other for second, other in zip(seconds, of, strict=True)]
    return f"{statistics.median(shares):.2f} ({min(shares):.2f}–{max(shares):.2f})"


def _upload(client: Client, name: str, network: Network) -> str:
    colour = "rgb" if network.image[2] == 3 else "grey"
    dataset = client.datasets.create({"name": name, "colour": colour})
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        file = Path(folder, "images.npz")
        arrays: dict[str, Any] = {}
        for split, (pixels, labels) in network.images().items():
            arrays |= {f"x_{split}": pixels, f"y_{split}": labels}
        np.savez(file, **arrays)
        client.datasets.upload(dataset.id, file)
    deadline = time.monotonic() + READY_WITHIN_S
    while (seen := client.datasets.get(dataset.id)).status != "ready":
        if seen.status == "rejected" or time.monotonic() > deadline:
            raise SystemExit(f"The dataset of {name} is {seen.status}.")
        time.sleep(0.2)
    return dataset.id


def _spec(dataset: str, network: Network, precision: str, more: dict[str, Any]) -> dict[str, Any]:
    training = {"epochs": network.epochs, "batch_size": network.batch_size, "seed": 1, "precision": precision}
    return {"dataset": dataset, "network": network.network, "training": training} | more


def _jobs(client: Client, specs: list[dict[str, Any]]) -> tuple[float, list[Any]]:
    """Seconds from the first claim to the last success, and the jobs."""
    ids = [client.jobs.create(spec).id for spec in specs]
    jobs = [_ended(client, id_) for id_ in ids]
    seconds = max(job.finished_at for job in jobs) - min(job.started_at for job in jobs)
    return seconds.total_seconds(), jobs


def _naive(task: tuple[Network, bool]) -> float:
    """Seconds of the script that a user would write."""
    network, mixed = task
    splits = {name: (pixels.astype("float32") / 255, labels) for name, (pixels, labels) in network.images().items()}
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        began = time.perf_counter()
        model = keras_model(network, mixed=mixed)
        model.fit(
            *splits["train"],
            batch_size=network.batch_size,
            epochs=network.epochs,
            validation_data=splits["val"],
            verbose=0,
        )
        for name in ("train", "test"):
            model.evaluate(*splits[name], batch_size=network.batch_size, verbose=0)
        model.save(f"{folder}/model.keras")
        return time.perf_counter() - began


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:])
