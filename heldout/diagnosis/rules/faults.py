"""Faults inside a network that bring about a training that is broken: what its layers say, and what looks have seen."""

from collections.abc import Callable, Mapping
from math import inf, log
from statistics import median
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, SuggestedRemedy
from heldout.diagnosis.rules.learning import has_high_rate
from heldout.stored.inside import EpochInside, InsideLook
from heldout.verdicts import FINDING_KINDS
from heldout.words import format_loss, percent

# Which fault the notes of each check explain; the others explain none.
FAULT_OF_CHECK: Mapping[str, str] = {
    "frozen": "nothing_trainable",
    "gradients": "nothing_trainable",
    "activations": "no_activation",
    "output": "wrong_output",
    "pixels": "unscaled_input",
    "large_weights": "exploding_gradients",
    "equal_weights": "dead_units",
    "saturation": "vanishing_gradients",
    "small_weights": "vanishing_gradients",
    "penalties": "too_much_regularization",
    "dropout": "too_much_regularization",
    "tiny_maps": "cannot_see_enough",
    "skipped_pixels": "cannot_see_enough",
    "small_field": "cannot_see_enough",
    "large_field": "cannot_see_enough",
}


def find_fault(code: str) -> Callable[[Facts], Finding | None]:
    """Make the rule of a fault. What looks have seen comes before what the layers say."""

    def find(facts: Facts) -> Finding | None:
        notes = [note for note in facts.notes if FAULT_OF_CHECK.get(note.check) == code]
        seen = LOOKS[code](facts) if code in LOOKS else ""
        texts = [text for text in (seen, *(note.text for note in notes)) if text]
        if not texts:
            return None
        line = next((note.line for note in notes if note.line), "")
        suggested = remedies.suggest(facts.base, *FINDING_KINDS[code].remedies)
        if line:
            suggested = (*suggested, SuggestedRemedy("change_code", f"In the Keras code: {line}"))
        # What has been set is a cause; what looks have seen may also follow from another fault.
        evidence = {"seen": texts[0], "is_set": bool(notes) or code in OF_RATE, "line": line}
        return Finding(code, "warning", " ".join(texts), evidence, suggested)

    return find


def _see_nothing_trained(facts: Facts) -> str:
    last = _get_last_look(facts)
    return "No layer with weights is trained." if last is not None and not last.layers else ""


def _see_explosion(facts: Facts) -> str:
    start, last, classes = _get_start(facts), _get_last_look(facts), len(facts.classes)
    first = inf if start is not None and start.loss is None else 0.0 if start is None else start.loss or 0.0
    if any(FAULT_OF_CHECK.get(note.check) == "unscaled_input" for note in facts.notes):
        return ""  # pixels that are too large explain it
    if classes > 1 and first > thresholds.MAX_FIRST_LOSS * log(classes):
        loss = "not finite" if first == inf else format_loss(first)
        return f"Before the first step, the loss was {loss}; guessing gives {format_loss(log(classes))}."
    looks = [look for look in (start, last) if look is not None]
    return "Gradients are no longer finite." if any(None in look.gradients for look in looks) else ""


def _see_dead_units(facts: Facts) -> str:
    last = _get_last_look(facts)
    share, layer = max(zip(last.dead, last.activations, strict=True), default=(0.0, "")) if last else (0.0, "")
    if share < thresholds.MIN_DEAD_UNITS:
        return ""
    return f"{percent(share, 0)} of the units of `{layer}` give the same for all images."


def _see_vanishing(facts: Facts) -> str:
    look = _get_start(facts)
    gradients = [] if look is None else [value for value in look.gradients if value is not None]
    # A gradient of exactly zero is cut off, such as by a last layer whose weights begin as zeros.
    if len(gradients) < 2 or not 0 < gradients[0] < thresholds.MIN_GRADIENT_SHARE * gradients[-1]:
        return ""
    return f"The first layer's gradient began {gradients[-1] / gradients[0]:,.0f} times smaller than the last one's."


def _see_high_rate(facts: Facts) -> str:
    step, spec = _get_usual_step(facts), facts.spec
    if spec is None:
        return ""
    optimizer = spec["training"]["optimizer"]
    if step is not None and step >= thresholds.MAX_STEP:
        return f"With a learning rate of {_format_rate(optimizer)}, a step changes {percent(step)} of the weights."
    if has_high_rate(spec):
        return f"A learning rate of {_format_rate(optimizer)} is far above what {optimizer['name']} usually gets."
    return ""


def _format_rate(optimizer: Mapping[str, Any]) -> str:
    return f"{optimizer['learning_rate']:.12f}".rstrip("0").rstrip(".")


def _see_low_rate(facts: Facts) -> str:
    if facts.spec is None:
        return ""
    optimizer = facts.spec["training"]["optimizer"]
    most = thresholds.MAX_LOW_RATE_OF_SGD if optimizer["name"] == "sgd" else thresholds.MAX_LOW_RATE
    if optimizer["learning_rate"] > most * (1 - (optimizer.get("momentum") or 0.0)):
        return ""
    return f"A learning rate of {_format_rate(optimizer)} is far below what {optimizer['name']} usually gets."


LOOKS: Mapping[str, Callable[[Facts], str]] = {
    "nothing_trainable": _see_nothing_trained,
    "exploding_gradients": _see_explosion,
    "dead_units": _see_dead_units,
    "vanishing_gradients": _see_vanishing,
    "learning_rate_too_high": _see_high_rate,
    "learning_rate_too_low": _see_low_rate,
}


OF_RATE = ("learning_rate_too_high", "learning_rate_too_low")


def _get_last_look(facts: Facts) -> EpochInside | None:
    looks = facts.curves.history.looks
    return looks[max(looks)] if looks else None


def _get_start(facts: Facts) -> InsideLook | None:
    looks = facts.curves.history.looks
    return looks[min(looks)].start if looks else None


def _get_usual_step(facts: Facts) -> float | None:
    last = _get_last_look(facts)
    steps = [] if last is None else [step for step in last.steps if step is not None]
    return median(steps) if steps else None
