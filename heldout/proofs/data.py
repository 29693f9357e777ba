"""Experiments about the images that a network is trained on."""

from collections.abc import Sequence
from typing import Any

from heldout.proofs.experiment import Evidence, Experiment, Judgement, Subject, Variant, conclude
from heldout.remedies.change import MAX_EPOCHS, MAX_PATIENCE_EPOCHS
from heldout.words.proofs import describe_points


def _halve(subject: Subject) -> Sequence[Variant]:
    """Train on half of the images for as many steps, so that only the images are fewer."""
    half, validation = subject.train_images // 2, subject.counts.get("validation", 0)
    if half < subject.training["batch_size"] or validation == 0:
        return ()
    epochs = min(MAX_EPOCHS, 2 * subject.training["epochs"])
    training: dict[str, Any] = {"train_limit": half, "epochs": epochs}
    if (stops := subject.training.get("early_stopping")) is not None:
        training["early_stopping"] = {"patience": min(MAX_PATIENCE_EPOCHS, 2 * stops["patience"])}
    work = subject.estimate_work(images=half, epochs=2 * subject.figures.epochs)
    return (Variant("half", {"training": training}, work),)


def _judge_half(subject: Subject, evidence: Evidence) -> Judgement:
    effect = evidence.compare("half")
    if effect is None:
        return Judgement("open", "Half of the training images could not be tried.")
    low, high = effect.interval
    costs = describe_points(-effect.points, (-high, -low))
    verb = "costs" if effect.points <= 0 else "gains"
    status, answers = conclude(effect, {"too_little_data": "proven"}, {"too_little_data": "refuted"}, sign=-1)
    so = {
        "proven": "more images would help, too",
        "refuted": "more of the same images would hardly help",
        "open": "that does not decide it",
    }[status]
    text = f"Half of the training images {verb} {costs}: {so}."
    return Judgement(status, text, answers, -effect.points, (-high, -low))


HALF = Experiment(
    "half",
    "Half of the images",
    "Are there too few training images?",
    {"too_little_data": 0.8, "overfitting": 0.2},
    _halve,
    _judge_half,
    sign=-1,
    why_not="There are too few training images to halve, or no validation images would show what that costs.",
)
