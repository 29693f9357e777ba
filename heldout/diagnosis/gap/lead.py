"""The first sentences of a diagnosis: how many points lie between training and test, and what they are."""

from collections.abc import Mapping, Sequence
from math import floor, log10

from heldout.diagnosis.gap.budget import (
    Bounds,
    Gap,
    Term,
    accuracy_of,
    chosen_pixels,
    counts_of,
    includes_0,
    late_epoch_by_accuracy,
    late_epoch_by_loss,
)
from heldout.diagnosis.thresholds import MIN_WHOLE_POINTS
from heldout.statistics.intervals import newcombe_interval
from heldout.stored.gap import PixelsUndone, StoredGap
from heldout.words import listed, percent
from heldout.words.labels import PIXELS, TERMS

# What widens the gap to new images, by the finding that it belongs to.
_CAUSES: Mapping[str, str] = {
    "memorised_noise": "memorized labels",
    "label_noise": "wrong training labels",
    "collapsed_class": "a class that the network does not know",
    "class_imbalance": "classes with few or no training images",
    "overfitting": "memorized training images",
    "too_little_data": "too few training images",
    "overconfidence": "too much confidence in wrong answers",
}


def lead_of(gap: Gap, stored: StoredGap, *, by_loss: bool) -> str:
    """The budget in a sentence or two; that of the loss after that of accuracy, where it gives the verdict."""
    accuracy = _about_accuracy(gap, stored)
    return f"{accuracy} {_about_loss(gap, stored)}" if by_loss else accuracy


def training_comes_first(gap: Gap) -> str:
    """Why a fault of training is the verdict, whatever the parts of the gap are."""
    return (
        f"The network answers only {percent(accuracy_of(gap.train))} of its training images correctly, so training has "
        "to be fixed first."
    )


def _about_accuracy(gap: Gap, stored: StoredGap) -> str:
    points = 100 * gap.accuracy
    unit = 1.0 if abs(points) >= MIN_WHOLE_POINTS else 1 / 10
    parts = _parts([(term, 100 * term.accuracy, term.accuracy_interval) for term in gap.terms], stored, of_loss=False)
    if not any(is_sure for *_, is_sure in parts):
        return _about_chance(gap)
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    steps = round(points / unit)
    side = f"{_number(steps * unit, unit)} points {'below' if steps > 0 else 'above'}" if steps else "equal to"
    return f"Test accuracy ({test}) is {side} training accuracy ({train}){_list(parts, points, unit)}."


def _about_chance(gap: Gap) -> str:
    """No term is surely there."""
    train, test = percent(accuracy_of(gap.train)), percent(accuracy_of(gap.test))
    if train == test:
        return f"Training and test accuracy are the same ({test})."
    start = f"Training accuracy is {train} and test accuracy {test}"
    if includes_0(newcombe_interval(counts_of(gap.train), counts_of(gap.test))):
        return f"{start}: the difference is small enough to be chance."
    return f"{start}: the difference is more than chance, but there are too few images to say what causes it."


def _about_loss(gap: Gap, stored: StoredGap) -> str:
    parts = _parts([(term, term.loss, term.loss_interval) for term in gap.terms], stored, of_loss=True)
    unit = 10 ** (floor(log10(abs(gap.loss) or max(abs(term.loss) for term in gap.terms))) - 1)
    trained, tested = (_number(loss, unit / 10) for loss in (gap.train.loss, gap.test.loss))
    start = f"But the loss is {trained} on training images and {tested} on test images"
    return f"{start}{_list(parts, gap.loss, unit) if gap.loss > 0 else ''}."


# What is said of some terms, its figure, and whether it is surely there.
Part = tuple[str, float, bool]


def _parts(terms: Sequence[tuple[Term, float, Bounds | None]], stored: StoredGap, *, of_loss: bool) -> list[Part]:
    """A part for each term that is surely there, the largest first; all that may be chance is one, the last."""
    sure = [(_phrase_of(term, value, stored, of_loss), value, True) for term, value, at in terms if not includes_0(at)]
    chance = sum(value for _, value, at in terms if includes_0(at))
    return [*sorted(sure, key=lambda part: -abs(part[1])), ("that may be chance", chance, False)]


def _list(parts: Sequence[Part], whole: float, unit: float) -> str:
    """`: 49 from the gap to new images, 8 from other pixel values and −2 that may be chance`: they add up as printed.

    What narrows a gap has a minus; where test is answered better than training, what widens it.
    """
    steps = apportioned([value / unit for _, value, _ in parts], round(whole / unit))
    sign = -1 if round(whole / unit) < 0 else 1
    said = [
        f"{'' if sign * step > 0 else '−'}{_number(step * unit, unit)} {'from ' if is_sure else ''}{phrase}"
        for (phrase, _, is_sure), step in zip(parts, steps, strict=True)
        if step
    ]
    return f": {listed(said)}" if said else ""


def _number(value: float, unit: float) -> str:
    """Without a sign, with the decimals of the unit."""
    return f"{abs(value):.{max(0, -floor(log10(unit)))}f}"


def _phrase_of(term: Term, value: float, stored: StoredGap, of_loss: bool) -> str:
    """The term's name, and in parentheses what is behind it: `the gap to new images (too few training images)`."""
    detail = None
    if term.code == "late_epochs":
        best = late_epoch_by_loss(stored) if of_loss else late_epoch_by_accuracy(stored)
        detail = None if best is None else f"the best epoch by {'loss' if of_loss else 'accuracy'} was {best.epoch}"
    elif term.code == "pixel_values" and stored.pixels is not None:
        detail = _kind_of_light(stored.pixels)
        if detail is None and (label := PIXELS.get(chosen_pixels(stored.pixels))) is not None:
            detail = label.name
    elif term.code == "split_difference" and term.finding == "label_order_mismatch":
        detail = TERMS["label_order"].phrase
    elif term.code == "generalisation" and value > 0:
        detail = _CAUSES.get(term.finding or "")
    phrase = TERMS[term.code].phrase
    return phrase if detail is None else f"{phrase} ({detail})"


def _kind_of_light(pixels: PixelsUndone) -> str | None:
    """`brighter` if undoing it makes all pixels darker, or `darker`; None where some get darker, and others lighter."""
    signs = set[str | None]()
    for choice, numbers in zip(pixels.choices, pixels.parameters, strict=True):
        if choice == "brightness":
            factor, offset = numbers.get("factor", 1.0), numbers.get("offset", 0.0)
            darkens, lightens = factor < 1 or offset < 0, factor > 1 or offset > 0
            signs.add(None if darkens == lightens else "brighter" if darkens else "darker")
    return signs.pop() if len(signs) == 1 else None


def apportioned(parts: Sequence[float], whole: int) -> list[int]:
    """Parts rounded to whole numbers that add up to `whole`, each up or down (the largest remainders go up)."""
    steps = [floor(part) for part in parts]
    upwards = sorted(range(len(parts)), key=lambda place: steps[place] - parts[place])
    for place in upwards[: max(0, whole - sum(steps))]:
        steps[place] += 1
    return steps
