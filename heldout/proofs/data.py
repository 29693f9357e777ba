"""Experiments about images: fewer of them, without harmful ones, split again, or with weighted classes."""

from collections.abc import Callable, Sequence
from typing import Any

from heldout.proofs import thresholds
from heldout.proofs.experiment import Evidence, Experiment, Judgement, Status, Subject, Variant, conclude
from heldout.proofs.figures import Z_OF_INTERVAL, Z_OF_PROOF, compare_recalls, compare_splits, subtract
from heldout.proofs.order import FIGURES
from heldout.remedies.change import MAX_EPOCHS, MAX_PATIENCE_EPOCHS, Change
from heldout.remedies.training import add_class_weights
from heldout.words import pluralize
from heldout.words.labels import describe_remedy
from heldout.words.proofs import UNDECIDED, describe_change, describe_gain, describe_points


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
        return Judgement("open", "Training on half of the images could not be tried.")
    low, high = effect.interval
    if effect.points <= 0:
        change = f"costs {describe_points(-effect.points, (-high, -low))}"
    else:
        change = describe_gain(effect.points, effect.interval)
    proven: dict[str, Status] = {"too_little_data": "proven"}
    if _knows_training_better(subject):
        proven["overfitting"] = "proven"
    status, answers = conclude(effect, proven, {"too_little_data": "refuted"}, sign=-1)
    if status == "refuted" and subject.only_guesses:
        # What is no better than guessing cannot get worse.
        status, answers = "open", {}
    so = {
        "proven": "more images would help, too",
        "refuted": "more of the same images would hardly help",
        "open": UNDECIDED,
    }[status]
    text = f"Training on half of the images {change}: {so}."
    return Judgement(status, text, answers, -effect.points, (-high, -low))


def _knows_training_better(subject: Subject) -> bool:
    own = subject.figures
    return own.validation is not None and own.train.accuracy - own.validation.accuracy >= thresholds.MIN_MEMORIZED_GAP


def _leave_out(why: str) -> Callable[[Subject], Sequence[Variant]]:
    def make_variants(subject: Subject) -> Sequence[Variant]:
        positions = subject.leave_out.get(why, ())
        images = subject.train_images - len(positions)
        if not positions or images < subject.training["batch_size"] or subject.counts.get("validation", 0) == 0:
            return ()
        return (Variant(f"without_{why}", {}, subject.estimate_work(images=images), leave_out=tuple(positions)),)

    return make_variants


def _judge_without_copies(subject: Subject, evidence: Evidence) -> Judgement:
    effect = evidence.compare("without_copies")
    count = len(subject.leave_out.get("copies", ()))
    what = f"Without the {pluralize(count, 'training image')} with copies in other splits, accuracy"
    if effect is None:
        return Judgement("open", f"{what} could not be measured.")
    low, high = effect.interval
    status, answers = conclude(effect, {"leakage": "proven"}, {"leakage": "refuted"}, sign=-1)
    change = describe_change(effect.points, effect.interval)
    so = {
        "proven": "copies flatter the figures",
        "refuted": "copies do not matter to this network",
        "open": UNDECIDED,
    }[status]
    return Judgement(status, f"{what} {change}: {so}.", answers, -effect.points, (-high, -low))


def _judge_without_suspects(subject: Subject, evidence: Evidence) -> Judgement:
    effect = evidence.compare("without_suspects")
    count = len(subject.leave_out.get("suspects", ()))
    what = f"Without the {pluralize(count, 'training image')} whose label is suspected, accuracy"
    if effect is None:
        return Judgement("open", f"{what} could not be measured.")
    status, answers = conclude(effect, {"label_noise": "proven"}, {"label_noise": "refuted"})
    change = describe_change(effect.points, effect.interval)
    so = {"proven": "wrong labels cost that much", "refuted": "wrong labels cost little", "open": UNDECIDED}[status]
    return Judgement(status, f"{what} {change}: {so}.", answers, effect.points, effect.interval)


def _split_again(subject: Subject) -> Sequence[Variant]:
    """Divide all images again; without test if that is sealed."""
    is_sealed = subject.spec["evaluation"]["test"] == "never" or subject.figures.test is None
    if subject.counts.get("validation", 0) == 0:
        return ()
    if is_sealed:
        return (Variant("resplit", {}, subject.estimate_work(), splits_again="train_and_validation"),)
    return (Variant("resplit", {}, subject.estimate_work(), splits_again="all"),)


def _judge_resplit(subject: Subject, evidence: Evidence) -> Judgement:
    found, own = evidence.get("resplit"), subject.figures
    splits = ("test", "validation") if subject.suspected_split != "validation" else ("validation", "test")
    effects = {
        name: compare_splits(before, after)
        for name in splits
        if (before := getattr(own, name)) is not None and (after := getattr(found, name, None)) is not None
    }
    if not effects:
        return Judgement("open", "The images could not be split again.")
    name, effect = next(iter(effects.items()))
    text = f"With all images split again, accuracy on {name} images {describe_change(effect.points, effect.interval)}"
    if effect.is_no_gain():
        text = f"{text}: the {name} images are no harder than others."
        return Judgement("refuted", text, {"split_shift": "refuted"}, effect.points, effect.interval)
    others = [effects[other] for other in splits[1:] if other in effects]
    if not others:
        return Judgement("open", f"{text}: {UNDECIDED}.", {}, effect.points, effect.interval)
    # What makes both held-out splits easier, such as relatives of their images in training, says nothing about one.
    special = subtract(effect, others[0])
    text = f"{text}, and on {splits[1]} images {describe_change(others[0].points, others[0].interval)}"
    # Test labels in another order are undone by it, too. So images must show the difference, and labels must not.
    is_seen = subject.tiers.get("split_shift") == FIGURES and "label_order_mismatch" not in subject.tiers
    if effect.is_gain() and special.is_gain():
        if is_seen and not subject.is_worse_than_guessing(name):
            text = f"{text}: the {name} images are of another kind."
            return Judgement("proven", text, {"split_shift": "proven"}, special.points, special.interval)
        text = f"{text}: the {name} images or their labels are of another kind, and this does not tell which."
        return Judgement("open", text, {}, special.points, special.interval)
    return Judgement("open", f"{text}: {UNDECIDED}.", {}, special.points, special.interval)


def _weigh_classes(subject: Subject) -> Sequence[Variant]:
    change = add_class_weights(subject.base)
    if not isinstance(change, Change) or not subject.figures.recalls:
        return ()
    return (Variant("class_weights", change.patch, subject.estimate_work()),)


def _judge_class_weights(subject: Subject, evidence: Evidence) -> Judgement:
    found = evidence.get("class_weights")
    effect = None if found is None else compare_recalls(subject.figures, found)
    if effect is None:
        return Judgement("open", "Weights for classes could not be tried.")
    code = "collapsed_class" if subject.verdict == "collapsed_class" else "class_imbalance"
    # Weights add no images, so a class that they do not help may be a rare one all the same.
    status, answers = conclude(effect, {code: "proven"}, {})
    so = {
        "proven": "the classes were out of balance",
        "refuted": "weights do not help the weak classes",
        "open": UNDECIDED,
    }[status]
    change = describe_change(effect.points, effect.interval)
    text = f"With weights for classes, the mean recall of the classes {change}: {so}."
    return Judgement(status, text, answers, effect.points, effect.interval)


def _undo_first_cause(subject: Subject) -> Sequence[Variant]:
    if subject.counts.get("validation", 0) == 0:
        return ()
    patches = {name: subject.patches[name] for name in _list_undoing(subject)}
    epochs = [patch.get("training", {}).get("epochs", subject.training["epochs"]) for patch in patches.values()]
    return [
        Variant(f"flip_{name}", patch, subject.estimate_work(epochs=max(subject.figures.epochs, most)))
        for (name, patch), most in zip(patches.items(), epochs, strict=True)
    ]


def _judge_flip(subject: Subject, evidence: Evidence) -> Judgement:
    effects = {name: evidence.compare(f"flip_{name}") for name in _list_undoing(subject)}
    known = {name: effect for name, effect in effects.items() if effect is not None}
    if not known:
        return Judgement("open", "The first cause could not be undone.")
    best = max(known, key=lambda name: known[name].points)
    effect, remedy = known[best], describe_remedy(best)
    tried = f"With {remedy} and everything else equal, accuracy {describe_change(effect.points, effect.interval)}"
    if effect.is_gain():
        text = f"{tried}: it was the cause."
        return Judgement("proven", text, {subject.verdict: "proven"}, effect.points, effect.interval)
    if subject.verdict in _UNDONE_ENTIRELY and effect.is_no_gain():
        text = f"{tried}: it costs nothing on new images."
        return Judgement("refuted", text, {subject.verdict: "refuted"}, effect.points, effect.interval)
    return Judgement("open", f"{tried}: {UNDECIDED}.", {}, effect.points, effect.interval)


# Causes that one remedy undoes entirely. If it brings nothing, they were not the cause. Other remedies only help
# against their cause, so nothing follows from one that does not.
_UNDONE_ENTIRELY = {"evaluation_lags": "recount_batch_norm"}


def _list_undoing(subject: Subject) -> list[str]:
    if subject.verdict not in FLIP.settles:
        return []
    undoing = _UNDONE_ENTIRELY.get(subject.verdict)
    return [name for name in subject.patches if undoing is None or name == undoing]


# Causes that a job measures by undoing them in its own answers, and how.
_UNDONE = {
    "label_order_mismatch": "Labels renamed as one half of the images suggests change the figure on the other half",
    "scale_mismatch": "Pixel values undone as one half of the images suggests change the figure on the other half",
    "leakage": "Leaving copied images out changes the figure",
    "preprocessing_mismatch": "The pixels that the model expects change the figure",
}


def _judge_measured(subject: Subject, evidence: Evidence) -> Judgement:
    points, low, high = subject.measured[subject.verdict]
    size = describe_points(points, (low, high))
    text = f"{_UNDONE[subject.verdict]} by {size}"
    deviation = (points - low) / Z_OF_INTERVAL
    if points >= thresholds.MIN_EFFECT and points > Z_OF_PROOF * deviation:
        return Judgement("proven", f"{text}: that is certain.", {subject.verdict: "proven"}, points, (low, high))
    return Judgement("open", f"{text}: {UNDECIDED}.", {}, points, (low, high))


MEASURED = Experiment(
    "measured",
    "Undone in the answers",
    "What do the figures read once the fault is undone?",
    dict.fromkeys(_UNDONE, 0.8),
    lambda subject: (),
    _judge_measured,
    repeats=False,
    applies=lambda subject: subject.verdict in _UNDONE and subject.verdict in subject.measured,
    why_not="The job has not measured what the figures read once the fault is undone.",
)
WITHOUT_COPIES = Experiment(
    "without_copies",
    "Without copies",
    "What are the copies worth?",
    {"leakage": 0.6},
    _leave_out("copies"),
    _judge_without_copies,
    sign=-1,
    why_not="No training image is known to have a copy in another split.",
)
WITHOUT_SUSPECTS = Experiment(
    "without_suspects",
    "Without suspected labels",
    "What do the wrong labels cost?",
    {"label_noise": 0.6, "memorised_noise": 0.2},
    _leave_out("suspects"),
    _judge_without_suspects,
    why_not="No search has found wrong labels among the training images.",
)
RESPLIT = Experiment(
    "resplit",
    "Split again",
    "Is test of another kind, or are the images few?",
    {"split_shift": 0.6},
    _split_again,
    _judge_resplit,
    repeats=False,
)
CLASS_WEIGHTS = Experiment(
    "class_weights",
    "Weights for classes",
    "Are classes out of balance, or hard?",
    {"class_imbalance": 0.6, "collapsed_class": 0.5},
    _weigh_classes,
    _judge_class_weights,
    repeats=False,
    why_not="The job already weights classes.",
)
FLIP = Experiment(
    "flip",
    "First cause undone",
    "Was it the cause?",
    {"overfitting": 0.5, "evaluation_lags": 0.7},
    _undo_first_cause,
    _judge_flip,
    why_not="No change of the spec undoes the first cause.",
)
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
