"""A drawn sample of trainings with wrong labels and without, trained again to have their answers to training images.

Kept trainings of the sample get these answers; they train to the same figures, or are left alone. A quarter of wrong
labels was never dealt, so trainings with that are added. They are kept apart and judge nothing else.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import keras

from benchmarks.diagnosis.record import HISTORY
from benchmarks.diagnosis.trained import Enough, Parts, Watched, audit_with_relations, kept_figures, measured_gap
from benchmarks.zoo.cuts import NotApplicable
from benchmarks.zoo.data import image_set, training_cut
from benchmarks.zoo.draw import sets_of_lot
from benchmarks.zoo.faults import QUARTER, plant
from benchmarks.zoo.record import COLLECTION, ZooRecord, append, keys_of, read_set, write_set
from benchmarks.zoo.trained import pack_answers, with_epochs
from benchmarks.zoo.trainings import Training, draw_training
from worker.messages import EpochDone, FromTraining

SETS, LOTS = 40, (1, 2, 3, 4)  # of the lots that were open when the sample was drawn
CLEAN, OTHERS = 2, 1  # trainings of a set without any fault, and with others than wrong labels
QUARTERS = COLLECTION / "quarter"
FIRST_NUMBER = 100  # of the trainings that are added
KINDS = tuple(f"wrong_{kind}_{where}" for kind in ("random", "confusable") for where in ("training", "everywhere"))
REGIMES = ("planted", "settled", "long", "short")


def sample_sets() -> list[str]:
    """The sets of the sample, in an order in which any beginning is a fair draw."""
    names = sorted(name for lot in LOTS for name in sets_of_lot(lot))
    random.Random("label noise").shuffle(names)
    return names[:SETS]


def choose(trainings: Sequence[Training]) -> set[str]:
    """Keys of the set's trainings in the sample: all with wrong labels, some clean ones, and some with other faults."""
    draw, found = random.Random(f"label noise {trainings[0].dataset}"), set[str]()
    ordered = sorted(trainings, key=lambda training: training.number)
    kinds: dict[str, list[str]] = {"wrong": [], "clean": [], "other": []}
    for training in ordered:
        has_wrong = any(name.startswith("wrong_") for name, _ in training.faults)
        kinds["wrong" if has_wrong else "other" if training.faults else "clean"].append(training.key)
    found.update(kinds["wrong"])
    for kind, count in (("clean", CLEAN), ("other", OTHERS)):
        found.update(draw.sample(kinds[kind], min(count, len(kinds[kind]))))
    return found


def quarter_of(name: str) -> Training:
    """The training of a set with a quarter of wrong labels: each kind in turn, each regime in turn."""
    place = sample_sets().index(name)
    kind, regime = KINDS[place % len(KINDS)], REGIMES[place // len(KINDS) % len(REGIMES)]
    return draw_training(name, FIRST_NUMBER, regime, ((kind, QUARTER),))


def train_sample(names: Iterable[str]) -> None:
    """Train what lacks its answers to training images."""
    for name in names:
        began = time.monotonic()
        records = list(read_set(name))
        wanted = choose([record.training for record in records])
        again = [
            answered(record) if record.training.key in wanted and "sure_test" not in record.answers else record
            for record in records
        ]
        write_set(again)
        differ = [record.training.key for record in again if record.training.key in wanted and not _is_full(record)]
        quarter = quarter_of(name)
        if quarter.key not in keys_of(name, QUARTERS):
            try:
                append(_train_alone(quarter), QUARTERS)
            except NotApplicable as error:
                print(f"{quarter.key} cannot be: {error}", flush=True)
        print(f"{name} {len(wanted)} trainings, {time.monotonic() - began:.0f} s", *differ, flush=True)


def _is_full(record: ZooRecord) -> bool:
    return record.kept is None or "sure_test" in record.answers


MEASURED = (
    "training_answers",
    "early_training_answers",
    "validation_answers",
    "early_validation_answers",
    "test_answers",
    "training_losses",
)


def answered(record: ZooRecord) -> ZooRecord:
    """The record with its network's answers to training images; as it is if training gives other figures today."""
    if record.gap is None:
        return record
    again = _train_alone(record.training, with_audit=False)
    if (again.history, again.kept) != (record.history, record.kept) or again.gap is None:
        return record
    gap = record.gap | {name: again.gap[name] for name in MEASURED}
    return replace(record, gap=gap, answers=again.answers | record.answers)


def _train_alone(training: Training, *, with_audit: bool = True) -> ZooRecord:
    """Train for the history's epochs, without any intervention."""
    keras.backend.clear_session()
    cut = training_cut(training.dataset, training.images, training.seed)
    images = image_set(plant(cut, training.faults, training.seed).data)
    audit, relations = audit_with_relations(images) if with_audit else ([], None)
    parts = Parts(with_epochs(training.spec, training.epochs), training.seed, images)
    untrained = parts.evaluator.measure(parts.data.rows["train"]).loss
    seen = Watched()

    def tell(message: FromTraining) -> None:
        if not isinstance(message, EpochDone):
            return
        seen.history.append({name: message.values[name] for name in HISTORY})
        if None in message.values.values():
            return
        seen.keep_weights(message.epoch, parts.network)
        if message.epoch == training.epochs:
            seen.final = kept_figures(parts.judge, parts.data, images, message.epoch)
            seen.train_losses = parts.train_losses
            raise Enough

    parts.run(tell)
    gap: dict[str, Any] | None = None
    if seen.final is not None:
        gap = measured_gap(parts, relations, seen, training.epochs, try_pixels=with_audit)
    return ZooRecord(
        condition=asdict(training),
        history={name: [epoch[name] for epoch in seen.history] for name in HISTORY},
        kept=seen.final,
        audit=audit,
        untrained_loss=untrained,
        referee={"classes": cut.classes, "count": 0},
        gap=gap,
        answers={} if seen.final is None else pack_answers(parts, seen, images, training.epochs),
    ).rounded()
