"""What interventions change: the same weights measured without a fault, or the network trained without it.

Differences are after less before, each with its standard error over the images: accuracies are positive where the
intervention helps, losses where it hurts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import split_into_halves
from analysis.answers.temperature import measure_calibration
from analysis.arrays.dataset import ImageSet
from benchmarks.diagnosis.conditions import NETWORKS
from benchmarks.diagnosis.trained import LEVEL, Judge, Parts, Watched
from benchmarks.zoo.alterations import cropped, exact, recompressed, recut, scaled
from benchmarks.zoo.cuts import Change, Cut, Rows
from benchmarks.zoo.data import image_set
from benchmarks.zoo.faults import Planted, plant
from benchmarks.zoo.trainings import HIGH_RATE, Training
from heldout.spec.job import JobSpec

Answers = tuple[NDArray[np.float64], NDArray[np.float64]]  # (count,) losses, (count,) 1 where rightly answered
Effect = dict[str, tuple[float, float]]  # accuracy and loss: a difference and its standard error

COPIES = {kind.__name__: kind for kind in (exact, recompressed, scaled, cropped, recut)}
FEW = 20  # validation and test images of a retraining; their results are not used
NOT_ALL_KNOWN = 0.9  # training accuracy from which on no network is too small
SMALL_GAP = 0.03  # between training and the referee: more images are not tried below it
ABLE_RATE, ABLE_EPOCHS = 0.003, 12


def measured(
    training: Training,
    planted: Planted,
    parts: Parts,
    seen: Watched,
    judged: Mapping[int, Answers],
    train_accuracy: float,
) -> dict[str, Any]:
    """All that is true of a training that has not failed, whose network has the kept weights."""
    original, epochs = planted.original, training.epochs
    rows = clean_rows(original)
    pixels, labels = original.images[rows], original.labels[rows]
    kept = judged[epochs] if epochs in judged else answers_of(parts.judge, pixels, labels)
    found: dict[str, Any] = {
        "clean": means(kept),
        "splits": {
            split: means(answers_of(parts.judge, original.images[of], original.labels[of]))
            for split, of in original.splits.items()
            if split in ("validation", "test") and len(of)
        },
        "figures": figures(planted, parts.judge, kept),
        "recalls": recalls(kept, labels, original.classes),
    }
    training_faults = faults_of_training(planted)
    if training.rate >= HIGH_RATE:
        slower = replace(training, rate=ABLE_RATE).spec
        found["slower"] = effect(retrained(slower, training.seed, image_set(planted.data), pixels, labels), kept)
    if len(original.splits["referee"]):
        found |= _by_referee(seen, judged, epochs, kept)
        found["temperature"] = temperature(parts.judge, pixels, labels)
        best = seen.best.by_accuracy
        if best < epochs:
            parts.network.set_weights(seen.weights[best])
            found["late"] = effect(answers_of(parts.judge, pixels, labels), kept)
            parts.network.set_weights(seen.weights[epochs])
        gap = train_accuracy - found["clean"]["accuracy"][0]
        if not training_faults and len(original.splits["spare"]) and gap > SMALL_GAP:
            found["doubled"] = effect(retrained(training.spec, training.seed, doubled(planted), pixels, labels), kept)
        if not training_faults and train_accuracy < NOT_ALL_KNOWN:
            data = image_set(planted.data)
            found["larger"] = effect(retrained(larger(training), training.seed, data, pixels, labels), kept)
    found["without"] = {
        name: effect(
            retrained(training.spec, training.seed, image_set(planted.without(name).data), pixels, labels), kept
        )
        for name in training_faults
    }
    return found


def clean_rows(original: Cut) -> Rows:
    """The referee's images, or all held-out ones where there is no referee."""
    referee = original.splits["referee"]
    return referee if len(referee) else np.concatenate([original.splits["validation"], original.splits["test"]])


def faults_of_training(planted: Planted) -> list[str]:
    """Faults that change what is trained on. Another source is measured by what test shows of it."""
    found = {change.fault for change in planted.changes if change.split == "train"}
    return [name for name, _ in planted.faults if name in found]


def _by_referee(seen: Watched, judged: Mapping[int, Answers], epochs: int, kept: Answers) -> dict[str, Any]:
    """What longer training brings, and the best epoch's answers: chosen on one half, measured on the other."""
    within = {epoch: answers for epoch, answers in judged.items() if epoch <= epochs}
    beyond = [answers for epoch, answers in judged.items() if epoch > epochs][-LEVEL:]
    found: dict[str, Any] = {
        "epochs": {epoch: [float(part.mean()) for part in answers] for epoch, answers in within.items()}
    }
    if beyond:
        found["longer"] = effect(level(beyond), level([*within.values()][-LEVEL:]))
    best = np.empty((2, len(kept[0])))
    for half in (0, 1):
        chooses, measured = (np.arange(len(kept[0])) % 2 == one for one in (half, 1 - half))
        for place, sign in ((0, -1), (1, 1)):
            epoch = max(within, key=lambda one: sign * within[one][place][chooses].mean())
            best[place, measured] = within[epoch][place][measured]
    found["best_epoch"] = effect((best[0], best[1]), kept)
    return found


def figures(planted: Planted, judge: Judge, kept: Answers) -> list[dict[str, Any]]:
    """What each fault of measuring does to the figure of its split: with the fault less without it.

    served: on the very images of the split, so far as they stay the same ones. true: on the referee's images, or for
    copies by how well the images that can be copied are answered; null without a referee.
    """
    found = []
    for change in planted.changes:
        if change.split not in ("validation", "test") or (change.field == "splits" and change.fault != "other_source"):
            continue
        served = None
        if change.fault != "other_source":
            with_, without = (
                answers_of(judge, data.images[rows], data.labels[rows])
                for data in (planted.data, planted.without(change.fault).data)
                for rows in [planted.data.splits[change.split]]
            )
            served = effect(with_, without)
        true = _true_figure(planted, judge, kept, change) if len(planted.original.splits["referee"]) else None
        level = dict(planted.faults)[change.fault]
        found.append({"fault": change.fault, "level": level, "split": change.split, "served": served, "true": true})
    return found


def _true_figure(planted: Planted, judge: Judge, kept: Answers, change: Change) -> Effect:
    """What a fault does to the figure of a split that has as many images as the referee."""
    if change.fault == "other_source":
        rows, original = planted.data.splits["test"], planted.original
        return difference(means(answers_of(judge, original.images[rows], original.labels[rows])), means(kept))
    if change.sources is not None:
        return _figure_of_copies(planted, judge, kept, change)
    # Nothing but what changes labels and pixels of this split, planted in the referee's images.
    names = {one.fault for one in planted.changes if one.split == change.split and one.field in ("images", "labels")}
    original = planted.original
    referee = {**original.splits, change.split: original.splits["referee"]}
    cut = Cut(original.images, original.labels, referee, original.groups, original.classes)
    both = [fault for fault in planted.faults if fault[0] in names]
    rows = original.splits["referee"]
    with_, without = (
        answers_of(judge, data.images[rows], data.labels[rows])
        for data in (
            plant(cut, faults, planted.seed).data
            for faults in (both, [fault for fault in both if fault[0] != change.fault])
        )
    )
    return effect(with_, without)


def _figure_of_copies(planted: Planted, judge: Judge, kept: Answers, change: Change) -> Effect:
    """The share of copies, times how much better all images that can be copied are answered than the referee's."""
    *conflicting, kind, source, _ = change.fault.split("_")
    data, rows = planted.data, planted.data.splits[source]
    labels = data.labels[rows]
    if conflicting:
        moves = np.random.default_rng(planted.seed).integers(1, data.classes, len(rows))
        labels = ((labels + moves) % data.classes).astype(np.int32)
    copied = np.stack([COPIES[kind](image) for image in data.images[rows]])
    lift = difference(means(answers_of(judge, copied, labels)), means(kept))
    return {name: (change.share * value, change.share * error) for name, (value, error) in lift.items()}


def doubled(planted: Planted) -> ImageSet:
    """Twice the training images, the second half from those that were held back."""
    splits = planted.data.splits
    return image_set(planted.data, {**splits, "train": np.concatenate([splits["train"], splits["spare"]])})


def larger(training: Training) -> JobSpec:
    """A network of twice the filters, without what keeps it from learning its training images."""
    spec = training.spec.model_dump(mode="json")
    network = spec["network"]
    if training.network not in ("one", "two", "narrow"):
        for block in network["blocks"]:
            block |= {"filters": 2 * block["filters"], "dropout": 0.0}
        network["l2"] = 0.0
    else:
        padding = network["blocks"][0]["padding"]
        network = {"blocks": [{**block, "padding": padding} for block in NETWORKS["plain"]["blocks"]]}
        spec["training"]["optimizer"]["learning_rate"] = ABLE_RATE
        spec["training"]["epochs"] = max(ABLE_EPOCHS, training.epochs)
    return JobSpec.model_validate(spec | {"network": network, "augmentation": None})


def retrained(
    spec: JobSpec, seed: int, images: ImageSet, pixels: NDArray[np.uint8], labels: NDArray[np.int32]
) -> Answers:
    """The answers of another training to the same clean images."""
    splits = {name: rows if name == "train" else rows[:FEW] for name, rows in images.splits.items()}
    spec = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"train": "final", "test": "never"})}
    )
    small = ImageSet(images.images, images.labels, splits, images.classes, images.value_range)
    parts = Parts(spec, seed, small)
    parts.run(lambda message: None)
    return answers_of(parts.judge, pixels, labels)


def temperature(judge: Judge, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> dict[str, float] | None:
    """The loss before and after one temperature, each half of the images under the one fitted on the other."""
    _, chances = judge.answers(pixels, labels)
    logarithms = np.log(np.maximum(chances.astype(np.float64), 1e-12))
    found = measure_calibration(logarithms, labels, split_into_halves(labels))
    return None if found is None else {"before": found.loss_before, "after": found.loss_after}


def recalls(kept: Answers, labels: NDArray[np.int32], classes: int) -> list[list[int]]:
    """For each class: correct answers, and all images."""
    right = np.bincount(labels, weights=kept[1], minlength=classes)
    return [[round(one), int(count)] for one, count in zip(right, np.bincount(labels, minlength=classes), strict=True)]


def answers_of(judge: Judge, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> Answers:
    losses, chances = judge.answers(pixels, labels)
    return losses.astype(np.float64), (chances.argmax(axis=1) == labels).astype(np.float64)


def level(several: list[Answers]) -> Answers:
    """The mean over some epochs, image by image."""
    return np.mean([losses for losses, _ in several], axis=0), np.mean([right for _, right in several], axis=0)


def means(answers: Answers) -> Effect:
    """Accuracy and loss themselves, with their standard errors."""
    root = max(1, len(answers[0])) ** 0.5
    loss, accuracy = ((float(part.mean()), float(part.std(ddof=1) / root)) for part in answers)
    return {"accuracy": accuracy, "loss": loss}


def effect(after: Answers, before: Answers) -> Effect:
    """After less before on the same images."""
    return means((after[0] - before[0], after[1] - before[1]))


def difference(one: Effect, other: Effect) -> Effect:
    """One less other, of different images."""
    return {name: (one[name][0] - other[name][0], float(np.hypot(one[name][1], other[name][1]))) for name in one}
