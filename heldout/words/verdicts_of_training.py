"""Headlines and summaries for faults of training, and for what is wrong inside a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import Words, of_100, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heldout.diagnosis.facts import Facts
    from heldout.diagnosis.findings import Finding

# From this training accuracy, the text says that the training images were memorized.
MIN_MEMORIZED = 0.98


def describe_lagging(facts: Facts, finding: Finding) -> Words:
    during, after = of_100(finding.evidence["fit_accuracy"]), of_100(finding.evidence["train_accuracy"])
    return Words(
        "The averages of batch normalization lag behind the weights.",
        f"In training the network got {during} images right, but measured afterwards only {after}.",
        "Recompute the averages before each evaluation",
        "recompute the averages",
    )


# What is wrong inside a network, and what to do.
WORDS_OF_FAULTS: Mapping[str, tuple[str, str]] = {
    "nothing_trainable": ("Layers that should learn are frozen", "make them trainable"),
    "no_activation": ("Layers follow each other without an activation", "add one between them"),
    "wrong_output": ("The last layer limits the figures of the classes", "remove its activation"),
    "unscaled_input": ("Pixels are not scaled as the network expects", "scale them once"),
    "exploding_gradients": ("Gradients explode", "use smaller first weights"),
    "dead_units": ("Most units of a layer are dead", "use other first weights"),
    "vanishing_gradients": ("Gradients vanish before the first layers", "use ReLU and usual first weights"),
    "too_much_regularization": ("Regularization is too strong", "use less of it"),
    "cannot_see_enough": ("The network does not see enough of the image", "use smaller strides"),
    "learning_rate_too_high": ("The learning rate is too high", "lower the learning rate and train again"),
    "learning_rate_too_low": ("The learning rate is too low", "raise the learning rate and train again"),
}


def describe_fault(facts: Facts, finding: Finding) -> Words:
    what, then = WORDS_OF_FAULTS[finding.code]
    action = f"{then[0].upper()}{then[1:]}" if "learning rate" in then else f"{what}: {then}"
    return Words(f"{what}.", finding.evidence["seen"], action, then)


def describe_diverged(facts: Facts, finding: Finding) -> Words:
    if "learning_rate" in finding.evidence:
        return Words(
            "The learning rate is too high.",
            f"With steps of {finding.evidence['learning_rate']:g}, the network still only guesses.",
            "Lower the learning rate and train again",
        )
    return Words(
        "Training diverged.",
        "The loss went up instead of down: the training steps were too large.",
        "Lower the learning rate and train again",
    )


def describe_underfitting(facts: Facts, finding: Finding) -> Words:
    train, spec = facts.train, facts.spec
    right = "" if train is None else f"It gets only {of_100(train.accuracy)} training images right"
    epochs = pluralize(facts.curves.epochs, "epoch")
    after = f" after {epochs}" if facts.curves.epochs else ""  # a model from elsewhere has no curves
    if spec is not None and spec.get("augmentation"):
        return Words(
            "The network learns too little.",
            f"{right}: the augmentation is too strong for {epochs}.",
            "Train longer or augment less",
            "train longer or augment less",
        )
    what = "a larger network or less regularization"
    if finding.offers_pretrained:
        what = f"pretrained features, {what}"
    return Words("The network learns too little.", f"{right}{after}.", f"Use {what}", f"use {what}")


def describe_not_converged(facts: Facts, finding: Finding) -> Words:
    last = facts.last
    if last is not None and "last_epoch" in finding.evidence:
        accuracy, loss = last.accuracy.difference, last.loss.difference
        by = f"{-100 * accuracy:.1f} points" if accuracy < 0 else f"{-loss:.2g} of loss"
        return Words(
            "The wrong epoch was kept.",
            f"Epoch {last.epoch}, the last, is {by} better than epoch {last.kept_epoch}, which was kept.",
            "Give early stopping more patience and train again",
            "give early stopping more patience",
        )
    epochs = facts.curves.epochs
    return Words(
        "Training ended too early.",
        f"The loss was still falling after {pluralize(epochs, 'epoch')}."
        if facts.curves.training is not None and facts.curves.training.still_falls
        else f"After {pluralize(epochs, 'epoch')}, it still gets few of its training images right.",
        f"Train for {2 * epochs:,} epochs" if epochs else "Train longer",
        "train longer",
    )


def describe_memorized(facts: Facts, finding: Finding) -> Words:
    """Describe `overfitting` and `too_little_data`."""
    train, validation = facts.train, facts.validation
    heldout = validation if validation is not None else facts.test
    count = 0 if train is None else train.count
    then = "collect more training images" + (f": {count:,} are few for this network" if count else "")
    action = "Measure what helps: augmentation and dropout usually do"
    before_next = "Measure whether augmentation and dropout help"
    if finding.offers_pretrained:
        action = "Measure what helps: on photographs, pretrained features usually do"
        before_next = "Measure whether pretrained features help"
    if train is None or heldout is None:
        return Words(
            "The network trained past its best epoch."
            if finding.code == "overfitting"
            else "There are too few training images.",
            _describe_past_best(facts, "Its training results kept improving while its validation results did not."),
            action,
            then,
            before_next,
        )
    effect = f"It gets {of_100(train.accuracy)} training images right but only {of_100(heldout.accuracy)} new ones."
    if train.accuracy >= MIN_MEMORIZED and heldout.accuracy < train.accuracy:
        return Words(f"The network memorized its {count:,} training images.", effect, action, then, before_next)
    if finding.code == "too_little_data":
        return Words(f"{count:,} training images are too few for this network.", effect, action, then, before_next)
    return Words(
        "The network trained past its best epoch.", _describe_past_best(facts, effect), action, then, before_next
    )


def _describe_past_best(facts: Facts, otherwise: str) -> str:
    curves = facts.curves
    heldout = curves.heldout
    if heldout is None or not curves.of_loss:
        return otherwise
    best, last = heldout.values[heldout.best], heldout.values[-1]
    return f"The validation loss was {best:.2f} in epoch {curves.best_epoch} and ended at {last:.2f}."


def describe_overconfidence(facts: Facts, finding: Finding) -> Words:
    heldout = facts.curves.heldout
    effect = "Its answers are as good as before, but its probabilities are not."
    if heldout is not None and facts.curves.of_loss:
        effect = (
            f"Validation loss rose from {heldout.values[heldout.best]:.2f} to {heldout.values[-1]:.2f}, while accuracy "
            "held."
        )
    return Words(
        "The network is too sure of its wrong answers.",
        effect,
        "Keep the most accurate epoch, and calibrate its probabilities before you use them",
    )
