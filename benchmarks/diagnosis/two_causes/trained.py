"""One training with two causes, as the worker does it, and what is true of it by the referee's images."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from benchmarks.diagnosis.record import HISTORY
from benchmarks.diagnosis.trained import Judge, Parts, Watched, audit_of, kept_figures, measured_gap
from benchmarks.diagnosis.two_causes.conditions import TwoCauses
from benchmarks.diagnosis.two_causes.faults import changed_pixels, planted_set, renamed, shifted
from benchmarks.diagnosis.two_causes.record import TwoCausesRecord
from worker.messages import EpochDone, FromTraining

Answers = tuple[NDArray[np.float64], NDArray[np.float64]]  # (count,) losses, (count,) 1 where rightly answered


def train(condition: TwoCauses) -> TwoCausesRecord:
    """Train, and measure what each term of the gap really is."""
    keras.backend.clear_session()
    planted = planted_set(condition)
    parts = Parts(condition.spec, condition.seed, planted.images)
    untrained = parts.evaluator.measure(parts.data.rows["train"]).loss
    seen = Watched()

    def tell(message: FromTraining) -> None:
        if isinstance(message, EpochDone):
            seen.history.append({name: message.values[name] for name in HISTORY})
            if None not in message.values.values():
                seen.keep_weights(message.epoch, parts.network)

    parts.run(tell)
    epochs = condition.spec.training.epochs
    assert epochs in seen.weights, "no cause makes a training diverge"
    gap = measured_gap(parts, planted.relations, seen, epochs)
    seen.final = kept_figures(parts.judge, parts.data, planted.images, epochs)
    return TwoCausesRecord(
        condition=condition.to_json(),
        history={name: [epoch[name] for epoch in seen.history] for name in HISTORY},
        kept=seen.final,
        audit=audit_of(planted.images) if condition.causes else [],
        untrained_loss=untrained,
        referee=_truth(condition, parts, planted.images, seen),
        gap=gap,
    ).rounded()


def _truth(condition: TwoCauses, parts: Parts, images: ImageSet, seen: Watched) -> dict[str, Any]:
    """Accuracy and loss on the referee's images, clean and with what was planted in test, step by step.

    `clean`, `shifted`, `renamed` (also shifted), `test` (as test is, also its pixels): mean and standard error of each,
    and of each less the one before on the same images. `seen`: the training images that can be copies, as they are in
    validation and in test. `best`: from the kept weights to the best ones on validation, on clean images.
    """
    judge = parts.judge
    rows = images.splits["referee"]
    pixels, labels = images.images[rows], images.labels[rows]
    training = parts.data.source["train"]
    clean = _answers(judge, pixels, labels)
    found: dict[str, Any] = {"count": len(rows), "clean": _means(clean)}
    if not condition.causes:
        return found
    other = shifted(pixels, condition)
    steps = {
        "shifted": (other, labels),
        "renamed": (other, renamed(labels, condition)),
        "test": (changed_pixels(other, condition.causes), renamed(labels, condition)),
    }
    before, same = clean, (pixels, labels)
    for name, (these, called) in steps.items():
        is_same = these is same[0] and called is same[1]
        after = before if is_same else _answers(judge, these, called)
        found[name] = _means(after) | {"change": _means(_less(after, before))}
        before, same = after, (these, called)
    seen_pixels, seen_labels = images.images[training], images.labels[training]
    as_test = changed_pixels(shifted(seen_pixels, condition), condition.causes)
    found["seen"] = {
        "validation": _means(_answers(judge, seen_pixels, seen_labels)),
        "test": _means(_answers(judge, as_test, renamed(seen_labels, condition))),
    }
    found["best"] = {}
    for metric, epoch in (("loss", seen.best.by_loss), ("accuracy", seen.best.by_accuracy)):
        if epoch == len(seen.history):
            continue
        parts.network.set_weights(seen.weights[epoch])
        best = _answers(judge, pixels, labels)
        best_seen = _answers(judge, seen_pixels, seen_labels)
        found["best"][metric] = {
            "epoch": epoch,
            "change": _means(_less(best, clean)),
            "seen": _means(best_seen),
        }
    return found


def _answers(judge: Judge, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> Answers:
    losses, chances = judge.answers(pixels, labels)
    return losses.astype(np.float64), (chances.argmax(axis=1) == labels).astype(np.float64)


def _less(one: Answers, other: Answers) -> Answers:
    return one[0] - other[0], one[1] - other[1]


def _means(answers: Answers) -> Mapping[str, float]:
    """Mean loss and accuracy with their standard errors."""
    root = len(answers[0]) ** 0.5
    (loss, loss_error), (accuracy, error) = ((float(one.mean()), float(one.std(ddof=1) / root)) for one in answers)
    return {"accuracy": accuracy, "accuracy_error": error, "loss": loss, "loss_error": loss_error}
