"""Gradient steps of ten networks that users bring: the engine and Keras' own `fit`, alternating in one run.

Both sides get the same images in memory and all cores, and each has its own process. Their epochs alternate, so a busy
machine slows both. `python -m benchmarks.own_networks [NETWORK…]`

With `--precisions`, the engine in bfloat16 and in float32 instead, for these networks and some others.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.engine_tables import CORES
from benchmarks.naive import in_process
from benchmarks.own_network_kinds import CLASSES, KINDS, VARIANTS
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec

MODEL = "mod_own"
ROUNDS = 3
WARM = 2  # epochs that trace the graphs and fill the allocators; not counted
BATCH = 32


@dataclass(frozen=True)
class Time:
    """Seconds of the clock, and of all processors."""

    wall_s: float
    cpu_s: float


Answer = tuple[Time, ...]


def main(names: list[str]) -> None:
    if names[:1] == ["--precisions"]:
        print("| network | float32, ms a step | bfloat16 | `auto` with units |\n|---|---|---|---|")
        for name in names[1:] or [*KINDS, *VARIANTS]:
            print(compare_precisions(name), flush=True)
        return
    columns = ["network", "`fit`, ms a step", "engine", "epoch, measured", "processor time of a step", "memory"]
    print(f"| {' | '.join(columns)} | towers | threads |")
    print("|---" * (len(columns) + 2) + "|")
    for name in names or KINDS:
        print(measure(name), flush=True)


def measure(name: str) -> str:
    """Return the row of one network: medians over the rounds, as shares of `fit` in the same round."""
    with Side(run_fit, name) as fit, Side(run_engine, name) as engine:
        for _ in range(WARM):
            fit.ask(), engine.ask()
        rounds = [(*fit.ask(), *engine.ask()) for _ in range(ROUNDS)]
        memory = engine.peak() / fit.peak()
        plan = engine.describe()
    steps = KINDS[name].images // BATCH
    of_fit = statistics.median(theirs.wall_s for theirs, _, _ in rounds)
    shares = [
        statistics.median(ours.wall_s / theirs.wall_s for theirs, ours, _ in rounds),
        statistics.median((ours.wall_s + measured.wall_s) / theirs.wall_s for theirs, ours, measured in rounds),
        statistics.median(ours.cpu_s / theirs.cpu_s for theirs, ours, _ in rounds),
        memory,
    ]
    cells = " | ".join(f"{share:.2f}" for share in shares)
    return f"| {name} | {1000 * of_fit / steps:.0f} | {cells} | {plan} |"


def compare_precisions(name: str) -> str:
    """Return the row of one network: the median of a step's processor time, as a share of float32 in the same round."""
    chosen, rounds = in_process(_train_in_both, (name, in_process(describe, name)))
    of_plain = 1000 * statistics.median(plain.cpu_s for plain, _ in rounds) * BATCH / (KINDS | VARIANTS)[name].images
    share = statistics.median(half.cpu_s / plain.cpu_s for plain, half in rounds)
    return f"| {name} | {of_plain:.1f} | {share:.2f} | {chosen} |"


def _train_in_both(task: tuple[str, Backbone]) -> tuple[str, list[Answer]]:
    """Return what `auto` chooses, and the times of each round's epochs, which alternate in one process."""
    made = [make_engine(*task, policy) for policy in ("float32", "mixed_bfloat16")]
    epochs = [_make_epoch(engine) for engine in made]
    return made[0].auto, [tuple(run()[0] for run in epochs) for _ in range(WARM + ROUNDS)][WARM:]


class Side:
    """A process that trains an epoch whenever it is asked to."""

    def __init__(self, work: Callable[[str, Connection], None], name: str) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_begin, args=(work, name, theirs))
        self._process.start()
        theirs.close()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def ask(self) -> Answer:
        """Train an epoch; return its seconds, and those of measuring where this side measures."""
        return tuple(self._get("epoch"))

    def peak(self) -> float:
        return float(self._get("peak"))

    def describe(self) -> str:
        return str(self._get("describe"))

    def _get(self, what: str) -> Any:
        self._pipe.send(what)
        return self._pipe.recv()


def _begin(work: Callable[[str, Connection], None], name: str, pipe: Connection) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import worker.training.preload  # noqa: F401  (imports Keras without TensorFlow's greetings)

    work(name, pipe)


def _serve(pipe: Connection, epoch: Callable[[], Answer], description: str = "") -> None:
    """Answer requests until the other side closes the pipe."""
    answers: dict[str, Callable[[], Any]] = {
        "epoch": epoch,
        "peak": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "describe": lambda: description,
    }
    while True:
        try:
            pipe.send(answers[pipe.recv()]())
        except EOFError:
            return


def _time(*works: Callable[[], Any]) -> Answer:
    return tuple(_iterate_times(works))


def _iterate_times(works: tuple[Callable[[], Any], ...]) -> Iterator[Time]:
    for work in works:
        began, used = time.perf_counter(), time.process_time()
        work()
        yield Time(time.perf_counter() - began, time.process_time() - used)


def run_fit(name: str, pipe: Connection) -> None:
    """Train with `fit` as a user would, with TensorFlow's own choice of threads."""
    import keras

    keras.utils.set_random_seed(1)
    pixels, labels = KINDS[name].draw_images()
    model, scaled = KINDS[name].build(), pixels.astype("float32") / 255
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
    _serve(pipe, lambda: _time(lambda: model.fit(scaled, labels, batch_size=BATCH, shuffle=False, verbose=0)))


def run_engine(name: str, pipe: Connection) -> None:
    """Train with the engine as a job does, and measure the training split after each epoch."""
    made = make_engine(name, in_process(describe, name))
    _serve(pipe, _make_epoch(made), made.description)


def _make_epoch(made: "Made") -> Callable[[], Answer]:
    epochs = iter(range(1, 1_000_000))

    def train() -> None:
        made.engine.begin_epoch(next(epochs), made.rates)
        made.engine.run(0, made.engine.steps_per_epoch, made.nothing)

    def measure() -> None:
        made.evaluator.measure(made.rows)

    return lambda: _time(train, measure)


@dataclass(frozen=True)
class Made:
    engine: Any
    evaluator: Any
    rows: Any
    rates: Any
    nothing: Any
    description: str
    auto: str


def describe(name: str) -> Backbone:
    """Return what a service knows about the network once it has read its file."""
    from worker.training.uploaded_models.description import describe_network

    kind = (KINDS | VARIANTS)[name]
    network = kind.build()
    facts, parameters = describe_network(network, (kind.side, kind.side)), network.count_params()
    return Backbone(
        model=MODEL,
        takes=(kind.side, kind.side, 3),
        gives=(CLASSES,),
        pixels="unit",
        parameters=parameters,
        trainable_parameters=parameters,
        flops=facts.flops,
        values=facts.values,
        largest=facts.largest,
        layers=len(facts.layers),
        divides=facts.divides,
        gained=facts.gained,
    )


def make_engine(name: str, known: Backbone, policy: Any = "float32") -> Made:
    """Return the engine that trains a network as a single job on this machine does."""
    import keras
    import numpy as np
    import tensorflow as tf

    from analysis.arrays.dataset import ImageSet
    from worker.messages import AssignedMachine
    from worker.training.choices import choose_precision, choose_threads, choose_towers
    from worker.training.data.training_data import ResidentData, select
    from worker.training.engine.checkpoint import FitSums
    from worker.training.engine.engine import Engine
    from worker.training.measuring.evaluate import Evaluator
    from worker.training.networks.backbone import UploadedBackbone
    from worker.training.networks.own_network import build_own_network

    kind, machine = (KINDS | VARIANTS)[name], AssignedMachine(cores=CORES)
    training = {"seed": 1, "batch_size": BATCH}
    spec = JobSpec.model_validate({"dataset": "none", "network": {"model": MODEL}, "training": training})
    towers = choose_towers("auto", CORES, spec, known.takes, CLASSES, known)
    threads = choose_threads(spec, machine, towers)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(towers, 2 if threads > 1 else 1))
    keras.utils.set_random_seed(1)
    pixels, labels = kind.draw_images()
    rows = np.arange(kind.images)
    splits = {"train": rows, "validation": rows[:1], "test": rows[:1]}
    data = select(ImageSet(pixels, labels, splits, tuple(map(str, range(CLASSES))), (0, 255)), spec, None)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(kind.build())))
    source, uploaded = ResidentData(data), UploadedBackbone(config, [], "unit", gives_map=False)
    network = build_own_network(spec.network, uploaded, known.takes, CLASSES, count(1), policy)
    engine = Engine(network, data, source, spec, towers)
    auto = choose_precision("auto", spec, known.takes, CLASSES, towers, known)
    rates = np.full(engine.steps_per_epoch, 0.001, np.float32)
    return Made(engine, Evaluator(network, source), data.rows["train"], rates, FitSums(), f"{towers} | {threads}", auto)


if __name__ == "__main__":
    main(sys.argv[1:])
