"""Processor time of gradient steps and of measuring in bfloat16, as shares of float32: `auto`'s rule comes from it.

`python -m benchmarks.precisions [--rounds N] [--towers N]`. Each precision has its own process with one thread, in turn
in one run. A figure is the smallest of all epochs, in processor time, so other work on the machine matters little.
"""

import argparse
import os
import time
from dataclasses import dataclass
from typing import Any

from analysis.scheduling.cost import choose_auto_precision
from benchmarks.naive import in_process
from benchmarks.network_kinds import CLASSES, Network
from benchmarks.network_steps import engine_of
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from worker.machine.devices import get_processor

HEADINGS = ("network", "operations of the convolutions, million", "step", "measuring", "`auto` with units")
UNITS = {"amx_bf16", "avx512_bf16", "bf16"}
DIGITS = (28, 28, 1)
STEPS = 20
EPOCHS = 6
MEASURED_IMAGES = 640


def _network(*filters: int, image: tuple[int, int, int] = DIGITS, batch_size: int = 32, **block: Any) -> Network:
    blocks = [{"filters": count, **block} for count in filters]
    return Network({"blocks": blocks}, image, max(STEPS * batch_size, MEASURED_IMAGES), 1, batch_size)


SAME: dict[str, Any] = {"padding": "same"}
KINDS: dict[str, Network] = {
    "16": _network(16),
    "8-16": _network(8, 16),
    "32": _network(32),
    "32-64 `same`, 8×8×1": _network(32, 64, image=(8, 8, 1), **SAME),
    "16-16": _network(16, 16),
    "32-64-128, batch 4": _network(32, 64, 128, batch_size=4),
    "16, batch 128": _network(16, batch_size=128),
    "16-32": _network(16, 32),
    "24-48": _network(24, 48),
    "33-65": _network(33, 65),
    "32-64-128": _network(32, 64, 128),
    "16-32 with `elu`": _network(16, 32, activation="elu"),
    "16-32 with `tanh`": _network(16, 32, activation="tanh"),
    "16-32 with `silu`": _network(16, 32, activation="silu"),
    "32-64 with `gelu`": _network(32, 64, activation="gelu"),
    "64-128 `same` with `elu`": _network(64, 128, activation="elu", **SAME),
    "64-128 `same` with `tanh`": _network(64, 128, activation="tanh", **SAME),
    "64-128 `same` with `silu`": _network(64, 128, activation="silu", **SAME),
    "64-128 `same` with `gelu`": _network(64, 128, activation="gelu", **SAME),
    "16-32 with `batch_norm`": _network(16, 32, batch_norm=True),
    "64-128 `same` with `batch_norm`": _network(64, 128, batch_norm=True, **SAME),
    "8, then 512 dense units": Network({"blocks": [{"filters": 8}], "dense": [{"units": 512}]}, DIGITS, 640, 1),
}


@dataclass(frozen=True)
class Seconds:
    """Processor time of an epoch's steps, and of measuring its images."""

    steps: float
    measuring: float


def main() -> None:
    """Print a row for each network as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precisions")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--towers", type=int, default=1)
    given = parser.parse_args()
    units = ", ".join(sorted(UNITS & get_processor().flags))
    print(f"Units for bfloat16: {units or 'none'}.\n")
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for name, network in KINDS.items():
        found: dict[bool, list[Seconds]] = {False: [], True: []}
        for _ in range(given.rounds):
            for mixed, seconds in found.items():
                seconds.append(in_process(_seconds, (network, mixed, given.towers)))
        share = {
            part: min(getattr(one, part) for one in found[True]) / min(getattr(one, part) for one in found[False])
            for part in ("steps", "measuring")
        }
        operations, chosen = _facts(network, given.towers)
        print(
            f"| {name} | {operations / 1e6:.0f} | {share['steps']:.2f} | {share['measuring']:.2f} | {chosen} |",
            flush=True,
        )
    print(f"\nLoad average at the end {os.getloadavg()[0]:.1f}.")


def _facts(network: Network, towers: int) -> tuple[int, str]:
    training = {"batch_size": network.batch_size}
    spec = JobSpec.model_validate({"dataset": "none", "network": network.network, "training": training})
    plan = plan_network(spec.network, network.image, CLASSES)
    operations = network.batch_size * sum(layer.flops for layer in plan.layers if "_conv" in layer.name)
    return operations, choose_auto_precision(spec, plan, towers)


def _seconds(task: tuple[Network, bool, int]) -> Seconds:
    from worker.machine.devices import get_policy
    from worker.training.engine.checkpoint import FitSums
    from worker.training.measuring.evaluate import make_evaluator

    network, mixed, towers = task
    made = engine_of(network, mixed, towers)
    policy = get_policy("mixed" if mixed else "float32", "cpu")
    evaluator = make_evaluator(made.spec, made.model, made.source, made.engine.weights, policy)
    rows = made.data.rows["train"][:MEASURED_IMAGES]

    def train(number: int) -> None:
        made.engine.begin_epoch(number + 1, made.rates)
        made.engine.run(0, made.engine.steps_per_epoch, FitSums())

    return Seconds(_smallest(train), _smallest(lambda _: evaluator.measure(rows)))


def _smallest(work: Any) -> float:
    seconds = []
    for number in range(EPOCHS + 1):
        began = time.process_time()
        work(number)
        seconds.append(time.process_time() - began)
    return min(seconds[1:])  # the first traces


if __name__ == "__main__":
    main()
