"""What a job costs besides its epochs: each part of its process, over several runs. `python -m benchmarks.job_parts`.

Each run is forked from a process that has imported TensorFlow but never used it, like a worker's training processes.
`BENCH_ROUNDS` sets the runs of each network.
"""

import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.naive import in_fork
from worker.messages import AssignedDataset, AssignedMachine

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
EPOCHS = 2
NETWORKS = {"A": "overfit", "B": "regularized", "C augmented": "augmented"}
# The calls of which function make up each part.
PARTS: dict[str, Callable[[dict[str, list[float]]], float]] = {
    "loading the images": lambda took: sum(took["select"] + took["make_source"]),
    "building the network, TensorFlow's start": lambda took: sum(took["build_network"]),
    "the optimizer": lambda took: sum(took["Engine.__init__"]),
    "tracing the steps": lambda took: sum(took["Engine.trace"]),
    "optimising their graph, the first step": lambda took: took["Engine.run"][0],
    "tracing and optimising what measures (in a thread)": lambda took: sum(took["Evaluator._prepare"]),
    "waiting for the graph that measures": lambda took: max(
        0.0, took["Evaluator.measure_each"][0] - took["Evaluator.measure_each"][2]
    ),
    "making the exported model (in the thread)": lambda took: sum(took["PreparedExport._make"]),
    "waiting for the exported model": lambda took: sum(took["PreparedExport.make_predictor"]),
    "predicting all splits, while the thread saves the model": lambda took: sum(took["Predictor.predict"][:3]),
    "predictions, scores, the terms of the gap": lambda took: sum(
        took["save_predictions"] + took["build_evaluation"] + took["measure_gap"]
    ),
    "the whole job": lambda took: sum(took["_train"]),
    "its processor time": lambda took: sum(took["processor"]),
    "of it gradient steps and measuring of its second epoch": lambda took: sum(took["second epoch"]),
}


def main() -> None:
    """Print a table of medians and minima in milliseconds."""
    import worker.training.preload  # noqa: F401  (imports Keras without TensorFlow's greetings)
    from analysis.arrays.dataset import save
    from heldout.spec.job import JobSpec
    from models.bundled import BUNDLED

    print(f"| ms, median (min) of {ROUNDS} | {' | '.join(NETWORKS)} |\n|---|{'---|' * len(NETWORKS)}")
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        save(BUNDLED["mnist5k"].read(Path()), data)
        for name, example in NETWORKS.items():
            body = json.loads((ROOT / "examples" / f"{example}.json").read_text())
            body["training"] |= {"epochs": EPOCHS, "precision": "float32"}
            spec = JobSpec.model_validate(body).complete(name="parts", seed=7)
            found[name] = [in_fork(_run, spec, data) for _ in range(ROUNDS)]
    for part in PARTS:
        cells = [[1000 * one[part] for one in found[name]] for name in NETWORKS]
        print(f"| {part} | {' | '.join(f'{statistics.median(cell):.0f} ({min(cell):.0f})' for cell in cells)} |")


def _run(spec: Any, data: Path) -> dict[str, float]:
    """Train in this process, and return the seconds of each part."""
    from worker.messages import Assignment, EpochDone, Finished
    from worker.training import finalize, runner, training_setup
    from worker.training.exports import exported_model
    from worker.training.measuring import evaluate
    from worker.training.networks import network

    took: dict[str, list[float]] = defaultdict(list)

    def watch(owner: Any, name: str) -> None:
        """Record how long each call takes."""
        called = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return called(*args, **options)
            finally:
                within = f"{owner.__name__}." if isinstance(owner, type) else ""
                took[within + name].append(time.perf_counter() - began)

        setattr(owner, name, timed)

    owners: dict[Any, tuple[str, ...]] = {
        runner: ("prepare", "_train"),
        training_setup: ("select", "make_source"),
        network: ("build_network",),
        training_setup.Engine: ("__init__", "trace", "run"),
        evaluate.Evaluator: ("measure_each", "_prepare"),
        exported_model.PreparedExport: ("_make", "make_predictor"),
        exported_model.Predictor: ("predict",),
        finalize: ("save_predictions", "build_evaluation", "measure_gap"),
    }
    for owner, names in owners.items():
        for name in names:
            watch(owner, name)

    def send(message: Any) -> None:
        if isinstance(message, EpochDone) and message.epoch == EPOCHS:
            took["second epoch"].append(message.values["seconds"] + message.values["evaluation_seconds"])

    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as scratch:
        machine = AssignedMachine(towers="auto", cores=len(os.sched_getaffinity(0)))
        assignment = Assignment("job_parts", spec, AssignedDataset(data), Path(scratch), machine)
        began = time.process_time()
        with ExitStack() as in_use:
            given = runner.prepare(assignment, lambda: None, in_use)
            done = runner._train(assignment, given, send, lambda: None)
        took["processor"].append(time.process_time() - began)
    assert isinstance(done, Finished), done
    return {part: seconds_of(took) for part, seconds_of in PARTS.items()}


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
