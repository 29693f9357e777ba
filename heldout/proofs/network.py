"""Experiments about what a network can learn: whether it memorizes a few images, and more with twice the filters."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from heldout.proofs import thresholds
from heldout.proofs.experiment import Evidence, Experiment, Judgement, Status, Subject, Variant, conclude
from heldout.proofs.figures import compare_splits
from heldout.remedies.change import Change, RemedyBase
from heldout.remedies.network import enlarge_network, reduce_regularization
from heldout.spec.documents import make_patch, merge
from heldout.verdicts import BROKEN, FAULTS
from heldout.words import percent
from heldout.words.labels import describe_remedy
from heldout.words.proofs import UNDECIDED, describe_change, describe_gain


def _free(subject: Subject, *, enlarged: bool = False) -> dict[str, Any]:
    """The job's spec without penalties and, if asked for, with twice the filters."""
    base = subject.base
    for change in (enlarge_network, reduce_regularization) if enlarged else (reduce_regularization,):
        outcome = change(base)
        if isinstance(outcome, Change):
            base = RemedyBase(merge(base.spec, outcome.patch), base.train_images, base.facts)
    return dict(base.spec)


def _memorize(subject: Subject) -> Sequence[Variant]:
    images = min(thresholds.MEMORIZED_IMAGES, subject.train_images)
    steps = ceil(images / subject.training["batch_size"])
    epochs = max(20, min(200, thresholds.STEPS_TO_MEMORIZE // steps))
    training: Mapping[str, Any] = {
        "train_limit": images,
        "epochs": epochs,
        "early_stopping": None,
        "on_overfit": "none",
        "schedule": dict.fromkeys(subject.training.get("schedule") or {}) | {"name": "constant"},
        "label_smoothing": 0,
        "class_weights": None,
    }
    # Nothing is chosen by validation images here, and measuring them after each epoch would take most of the time.
    validation = dict.fromkeys(subject.spec.get("validation") or {}) | {"use": "train"}
    patch = make_patch(subject.spec, merge(_free(subject), {"training": training, "validation": validation}))
    work = subject.estimate_work(epochs=epochs, images=images, has_validation=False)
    return (Variant("memorize", patch, work),)


def _judge_memorized(subject: Subject, evidence: Evidence) -> Judgement:
    figures = evidence.get("memorize")
    if figures is None:
        return Judgement("open", "Memorizing a few images could not be tried.")
    right, images = figures.train.accuracy, figures.train.count
    text = f"Trained on {images} images alone, it gets {percent(right, 0)} of them right"
    if right >= thresholds.MIN_MEMORIZED:
        return Judgement("refuted", f"{text}: network and training can learn.", {}, right)
    answers: dict[str, Status] = {"underfitting": "proven"}
    return Judgement("proven", f"{text}: it cannot even memorize them.", answers, right)


def _enlarge(subject: Subject) -> Sequence[Variant]:
    patch = make_patch(subject.spec, _free(subject, enlarged=True))
    if not patch or subject.counts.get("validation", 0) == 0:
        return ()
    is_larger = "blocks" in patch.get("network", {}) or "dense" in patch.get("network", {})
    work = subject.estimate_work(by=thresholds.WORK_OF_LARGER if is_larger else 1.0)
    return (Variant("larger", patch, work),)


def _judge_larger(subject: Subject, evidence: Evidence) -> Judgement:
    effect, figures = evidence.compare("larger"), evidence.get("larger")
    what = "Twice the filters without penalties"
    if effect is None or figures is None:
        return Judgement("open", f"{what} could not be trained.")
    status, answers = conclude(effect, {"underfitting": "proven"}, {"underfitting": "refuted"})
    if status == "proven" and not subject.known.is_poor:
        # It knows its training images well, so that more is lost by what it makes of new ones.
        answers = {}
    learned_more = compare_splits(subject.figures.train, figures.train).is_gain()
    if status == "refuted" and subject.known.is_poor and not learned_more:
        # The larger one has not learned more either, so nothing follows from its answers to new images.
        status, answers = "open", {}
    gained = describe_gain(effect.points, effect.interval).replace("gains", "gain", 1).replace("costs", "cost", 1)
    so = {
        "proven": "the network was too small, or held back too much" if answers else "a larger one helps, too",
        "refuted": "its size is not the fault",
        "open": UNDECIDED,
    }[status]
    return Judgement(status, f"{what} {gained}: {so}.", answers, effect.points, effect.interval)


def _undo_fault(subject: Subject) -> Sequence[Variant]:
    """Train with what undoes the first fault inside the network that the spec can change."""
    found = _find_changeable(subject)
    if found is None or subject.counts.get("validation", 0) == 0:
        return ()
    _, patches = found
    return [Variant(f"without_{name}", patch, subject.estimate_work()) for name, patch in patches.items()]


def _judge_fault(subject: Subject, evidence: Evidence) -> Judgement:
    found = _find_changeable(subject)
    effects = {name: evidence.compare(f"without_{name}") for name in (found[1] if found else ())}
    known = {name: effect for name, effect in effects.items() if effect is not None}
    if found is None or not known:
        return Judgement("open", "The fault inside the network could not be undone.")
    code, _ = found
    best = max(known, key=lambda name: known[name].points)
    effect = known[best]
    text = f"With {describe_remedy(best)}, accuracy {describe_change(effect.points, effect.interval)}"
    undone: dict[str, Status] = {code: "proven"}
    if subject.verdict in BROKEN:
        undone[subject.verdict] = "proven"
    status, answers = conclude(effect, undone, {code: "refuted"} if best in _UNDOING_ENTIRELY else {})
    if status == "refuted" and not answers:
        status = "open"
    so = {"proven": "it was the cause", "refuted": "it is not the cause", "open": UNDECIDED}[status]
    return Judgement(status, f"{text}: {so}.", answers, effect.points, effect.interval)


def _find_changeable(subject: Subject) -> tuple[str, Mapping[str, Mapping[str, Any]]] | None:
    return next(((code, patches) for code, patches in subject.faults.items() if patches), None)


# Other remedies only help against their fault: ten times a tiny rate may still be too little.
_UNDOING_ENTIRELY = frozenset({"fitting_pixels"})

FAULT = Experiment(
    "fault",
    "Fault inside undone",
    "Does a fault inside the network keep it from learning?",
    dict.fromkeys(FAULTS, 0.8),
    _undo_fault,
    _judge_fault,
    why_not="The spec cannot undo the fault inside the network. Change the line of Keras code that its finding names.",
)
MEMORIZE = Experiment(
    "memorize",
    "Memorizing 64 images",
    "Can the network memorize 64 images?",
    {"underfitting": 0.3, "diverged": 0.1},
    _memorize,
    _judge_memorized,
    repeats=False,
)
LARGER = Experiment(
    "larger",
    "Larger network",
    "Is the network too small?",
    {"underfitting": 0.8, "healthy": 0.3},
    _enlarge,
    _judge_larger,
    why_not="The network cannot be enlarged and has no penalties to remove, or no validation images would show it.",
)
