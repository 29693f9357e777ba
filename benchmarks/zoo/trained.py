"""One training of the zoo, as the worker does it, with what interventions show to be true of it."""

from dataclasses import asdict

import keras
import numpy as np

from analysis.arrays.dataset import ImageSet
from benchmarks.diagnosis.record import HISTORY
from benchmarks.diagnosis.trained import (
    LEVEL,
    Enough,
    Parts,
    Watched,
    audit_with_relations,
    has_turned,
    kept_figures,
    measured_gap,
)
from benchmarks.zoo import interventions
from benchmarks.zoo.cuts import Cut, Rows
from benchmarks.zoo.data import image_set, training_cut
from benchmarks.zoo.faults import plant
from benchmarks.zoo.interventions import Answers, answers_of
from benchmarks.zoo.record import ZooRecord, pack, pack_losses, pack_training
from benchmarks.zoo.trainings import Training
from heldout.spec.job import JobSpec
from worker.messages import EpochDone, FromTraining

JUDGED_EPOCHS = 6  # at most, of the history, besides the last three


def train(training: Training, cut: Cut | None = None) -> ZooRecord:
    """Train on the training's own cut, or on this one, and intervene.

    Raises:
        NotApplicable: if a fault cannot be planted in this training's images.
    """
    keras.backend.clear_session()
    cut = cut or training_cut(training.dataset, training.images, training.seed)
    planted = plant(cut, training.faults, training.seed)
    images = image_set(planted.data)
    audit, relations = audit_with_relations(images)
    parts, seen, judged, untrained = _run(training, images, planted.original)
    gap, answers = None, dict[str, str]()
    truth = {"classes": cut.classes, "count": len(cut.splits["referee"])}
    if seen.final is not None:
        gap = measured_gap(parts, relations, seen, training.epochs)
        answers = pack_answers(parts, seen, images, training.epochs)
        accuracy = seen.final["final"]["train"]["accuracy"]
        truth |= interventions.measured(training, planted, parts, seen, judged, accuracy)
    return ZooRecord(
        condition=asdict(training),
        history={name: [epoch[name] for epoch in seen.history] for name in HISTORY},
        kept=seen.final,
        audit=audit,
        untrained_loss=untrained,
        referee=truth,
        gap=gap,
        answers=answers,
    ).rounded()


def pack_answers(parts: Parts, seen: Watched, images: ImageSet, epochs: int) -> dict[str, str]:
    """The answers that a record keeps; the network has the kept weights afterwards."""
    answers, train = dict[str, str](), parts.data.source["train"]
    labels = images.labels[train]
    if seen.best.by_loss < epochs:
        parts.network.set_weights(seen.weights[seen.best.by_loss])
        answers["early_train"] = pack_training(labels, *parts.judge.outputs(train))
        held_out = images.splits["validation"]
        answers["early_validation"] = pack_training(images.labels[held_out], *parts.judge.outputs(held_out))
    parts.network.set_weights(seen.weights[epochs])
    answers["train"] = pack_training(labels, *parts.judge.outputs(train))
    if seen.train_losses is not None:
        answers["loss_sums"] = pack_losses(seen.train_losses.sums)
    for split in ("validation", "test"):
        losses, chances = parts.judge.outputs(images.splits[split])
        answers[split] = pack(losses, chances.argmax(axis=1) == images.labels[images.splits[split]])
        answers[f"sure_{split}"] = pack_losses(-np.log(chances.max(axis=1)))
    return answers


def longer_than(epochs: int) -> int:
    """Half as many epochs again."""
    return epochs + max(2, epochs // 2)


def with_epochs(spec: JobSpec, epochs: int) -> JobSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": epochs})})


def _run(training: Training, images: ImageSet, original: Cut) -> tuple[Parts, Watched, dict[int, Answers], float]:
    """Train for the training's epochs and, where a referee tells what that brings, for half as many again.

    Returns:
        The parts, what was seen of the history, the referee's answers after some epochs, those after the history's
        last one among them, and the loss before the first epoch.
    """
    epochs, rows = training.epochs, original.splits["referee"]
    goes_on = len(rows) > 0 and training.schedule == "constant"
    spec = with_epochs(training.spec, longer_than(epochs) if goes_on else epochs)
    parts = Parts(spec, training.seed, images)
    untrained = parts.evaluator.measure(parts.data.rows["train"]).loss
    seen, judged, wanted = Watched(), dict[int, Answers](), _judged_epochs(epochs)

    def tell(message: FromTraining) -> None:
        if not isinstance(message, EpochDone):
            return
        epoch = message.epoch
        if epoch <= epochs:
            seen.history.append({name: message.values[name] for name in HISTORY})
        if None in message.values.values():
            return
        if len(rows) and (epoch in wanted or epoch > spec.training.epochs - LEVEL):
            judged[epoch] = _judge(parts, original, rows)
        if epoch > epochs:
            return
        seen.keep_weights(epoch, parts.network)
        if epoch == epochs:
            seen.final = kept_figures(parts.judge, parts.data, images, epoch)
            seen.train_losses = parts.train_losses
            if goes_on and has_turned([losses.astype(np.float32) for losses, _ in judged.values()]):
                raise Enough

    parts.run(tell)
    if len(rows) and not goes_on and seen.final is not None:
        again = Parts(with_epochs(training.spec, longer_than(epochs)), training.seed, images)

        def tell_end(message: FromTraining) -> None:
            if isinstance(message, EpochDone) and message.epoch > longer_than(epochs) - LEVEL:
                # Behind the history's epochs: short trainings overlap otherwise.
                judged[epochs + message.epoch] = _judge(again, original, rows)

        again.run(tell_end)
    return parts, seen, judged, untrained


def _judge(parts: Parts, original: Cut, rows: Rows) -> Answers:
    return answers_of(parts.judge, original.images[rows], original.labels[rows])


def _judged_epochs(epochs: int) -> set[int]:
    """The last three of the history, and as many before as are affordable."""
    spread = np.linspace(1, epochs, min(epochs, JUDGED_EPOCHS)).round().astype(int).tolist()
    return {*spread, *range(max(1, epochs - LEVEL + 1), epochs + 1)}
