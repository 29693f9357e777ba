"""What a gap consists of: the first sentences of a diagnosis, and an explanation of each term with its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import floor, log10
from typing import TYPE_CHECKING

from heldout.statistics import includes_0
from heldout.verdicts import FINDING_KINDS
from heldout.words import describe_part, format_figure, join_with_and, percent, pluralize
from heldout.words.changed_images import PIXELS, QUALITIES
from heldout.words.labels import TERMS
from heldout.words.proofs import number_word

if TYPE_CHECKING:
    from heldout.diagnosis.bounds import Bounds
    from heldout.diagnosis.gap import Gap, Term, TermCode
    from heldout.stored.gap import PixelsUndone

# A smaller gap is written with one decimal.
MIN_WHOLE_POINTS = 10


def describe_budget(gap: Gap, *, by_loss: bool) -> str:
    """Describe the budget of accuracy, and then that of the loss if it decides the verdict (`by_loss`)."""
    accuracy = _describe_accuracy(gap)
    return f"{accuracy} {_describe_loss(gap)}" if by_loss else accuracy


def explain_training_first(gap: Gap) -> str:
    """Say why a training fault is the verdict, whatever the gap consists of."""
    return (
        f"The network answers only {percent(gap.train.accuracy)} of its training images correctly, so training has "
        "to be fixed first."
    )


def _describe_accuracy(gap: Gap) -> str:
    points = 100 * gap.accuracy
    unit = 1.0 if abs(points) >= MIN_WHOLE_POINTS else 1 / 10
    parts = _list_parts([(term, 100 * term.accuracy, term.accuracy_interval) for term in gap.terms], gap, of_loss=False)
    if not any(is_sure for *_, is_sure in parts):
        return _describe_chance(gap)
    train, test = percent(gap.train.accuracy), percent(gap.test.accuracy)
    steps = round(points / unit)
    side = f"{_format_number(steps * unit, unit)} points {'below' if steps > 0 else 'above'}" if steps else "equal to"
    return f"Test accuracy ({test}) is {side} training accuracy ({train}){_format_parts(parts, points, unit)}."


# Asked where only the number of independent images decides whether a gap is chance.
ASK_GROUPS = "Do they belong together, such as several images of one object?"


def _describe_chance(gap: Gap) -> str:
    """Describe a gap none of whose terms is clearly above chance."""
    train, test = percent(gap.train.accuracy), percent(gap.test.accuracy)
    if train == test:
        return f"Training and test accuracy are the same ({test})."
    start = f"Training accuracy is {train} and test accuracy {test}"
    if gap.may_be_chance and not gap.may_be_chance_of_single_images:
        points = abs(100 * gap.accuracy)
        size = number_word(gap.family_of_chance or 2).lower()
        return (
            f"{start}: {points:.1f} points. That is certain if these images are independent; if they come in groups of "
            f"{size} or more, it may be chance. {ASK_GROUPS}"
        )
    if gap.may_be_chance:
        return f"{start}: the difference is small enough to be chance."
    return f"{start}: the difference is more than chance, but each of its parts alone may be chance."


def _describe_loss(gap: Gap) -> str:
    parts = _list_parts([(term, term.loss, term.loss_interval) for term in gap.terms], gap, of_loss=True)
    unit = 10 ** (floor(log10(abs(gap.loss) or max(abs(term.loss) for term in gap.terms))) - 1)
    trained, tested = (_format_number(loss, unit / 10) for loss in (gap.train.loss, gap.test.loss))
    start = f"But the loss is {trained} on training images and {tested} on test images"
    return f"{start}{_format_parts(parts, gap.loss, unit) if gap.loss > 0 else ''}."


# The phrase for a term, its figure, and whether it is clearly above chance.
Part = tuple[str, float, bool]


def _list_parts(terms: Sequence[tuple[Term, float, Bounds | None]], gap: Gap, *, of_loss: bool) -> list[Part]:
    """One part for each term clearly above chance, largest first; all that may be chance is the last part."""
    sure = [(_phrase_term(term, value, gap, of_loss), value, True) for term, value, at in terms if not includes_0(at)]
    chance = sum(value for _, value, at in terms if includes_0(at))
    return [*sorted(sure, key=lambda part: -abs(part[1])), ("that may be chance", chance, False)]


def _format_parts(parts: Sequence[Part], whole: float, unit: float) -> str:
    """`: 49 from the gap to new images, 8 from other pixel values and −2 that may be chance`; as printed, they add up.

    Parts that narrow the gap get a minus. If test accuracy is above training accuracy, parts that widen it do.
    """
    steps = apportion([value / unit for _, value, _ in parts], round(whole / unit))
    sign = -1 if round(whole / unit) < 0 else 1
    phrases = [
        f"{'' if sign * step > 0 else '−'}{_format_number(step * unit, unit)} {'from ' if is_sure else ''}{phrase}"
        for (phrase, _, is_sure), step in zip(parts, steps, strict=True)
        if step
    ]
    return f": {join_with_and(phrases)}" if phrases else ""


def _format_number(value: float, unit: float) -> str:
    """Format a value without its sign, with the decimals of the unit."""
    return f"{abs(value):.{max(0, -floor(log10(unit)))}f}"


def _phrase_term(term: Term, value: float, gap: Gap, of_loss: bool) -> str:
    """Return the term's name with its cause in parentheses: `the gap to new images (too few training images)`."""
    detail = None
    if term.code == "late_epochs":
        best = gap.late_by_loss if of_loss else gap.late_by_accuracy
        detail = None if best is None else f"the best epoch by {'loss' if of_loss else 'accuracy'} was {best.epoch}"
    elif term.code == "pixel_values" and gap.stored.pixels is not None:
        detail = _name_light_change(gap.stored.pixels)
        if detail is None and (label := PIXELS.get(gap.stored.pixels.chosen)) is not None:
            detail = label.name
    elif term.code == "image_quality" and gap.stored.quality is not None:
        detail = QUALITIES[gap.stored.quality.kind].name
    elif term.code == "split_difference" and term.finding == "label_order_mismatch":
        detail = TERMS["label_order"].phrase
    elif term.code == "generalisation" and value > 0:
        kind = FINDING_KINDS.get(term.finding or "")
        detail = None if kind is None else kind.part
    phrase = TERMS[term.code].phrase
    return phrase if detail is None else f"{phrase} ({detail})"


def _name_light_change(pixels: PixelsUndone) -> str | None:
    """`brighter` if undoing the change darkens all pixels, `darker` if it lightens all, and None otherwise."""
    signs = set[str | None]()
    for choice, numbers in zip(pixels.choices, pixels.parameters, strict=True):
        if choice == "brightness":
            factor, offset = numbers.get("factor", 1.0), numbers.get("offset", 0.0)
            darkens, lightens = factor < 1 or offset < 0, factor > 1 or offset > 0
            signs.add(None if darkens == lightens else "brighter" if darkens else "darker")
    return signs.pop() if len(signs) == 1 else None


def apportion(parts: Sequence[float], whole: int) -> list[int]:
    """Round parts to integers that add up to `whole`; those with the largest remainders are rounded up."""
    steps = [floor(part) for part in parts]
    upwards = sorted(range(len(parts)), key=lambda place: steps[place] - parts[place])
    for place in upwards[: max(0, whole - sum(steps))]:
        steps[place] += 1
    return steps


# --- term by term ----------------------------------------------------------------------------------------


def explain_terms(gap: Gap) -> Gap:
    """Return the gap with an explanation in each term."""
    return replace(
        gap,
        terms=tuple(replace(term, explanation=_SENTENCES[term.code](term, gap)) for term in gap.terms),
    )


def _explain_late_epochs(term: Term, gap: Gap) -> str:
    by_accuracy, by_loss = gap.late_by_accuracy, gap.late_by_loss
    assert gap.validation is not None
    sentences = []
    if by_accuracy is not None:
        sentences.append(
            f"Epoch {by_accuracy.epoch} answered {percent(by_accuracy.validation.accuracy)} of the validation "
            f"images correctly; the kept epoch {gap.stored.kept_epoch} answered {percent(gap.validation.accuracy)}."
        )
    if by_loss is not None:
        sentences.append(
            f"The validation loss was {_format_loss(by_loss.validation.loss)} in epoch {by_loss.epoch}, and is "
            f"{_format_loss(gap.validation.loss)} in the kept epoch {gap.stored.kept_epoch}."
        )
    return " ".join(sentences) or "No earlier epoch was clearly better on the validation images than the kept one."


def _explain_generalization(term: Term, gap: Gap) -> str:
    """Compare the figures on both sides of the term, those of the best epoch if later ones cost something."""
    trained, heldout = gap.train.accuracy, gap.best_by_accuracy.accuracy
    if gap.validation is None:
        copies = gap.stored.test_copies
        aside = " without copies of training images" if copies is not None and copies.clean is not None else ""
        return (
            f"The network answers {percent(trained)} of the training images correctly, and {percent(heldout)} of the "
            f"test images{aside}. Without answers to validation images, it is unknown how much of that comes from "
            "harder test images."
        )
    late = gap.late_by_accuracy
    when = "" if late is None else f" in epoch {late.epoch}"
    return f"The network answers {percent(trained)} of the training images correctly, and " + (
        f"{percent(heldout)} of the validation images{when}, which it was not trained on."
    )


def _explain_copies(term: Term, gap: Gap) -> str:
    split, interval = term.code.removeprefix("copies_in_"), term.accuracy_interval
    copies = gap.stored.test_copies if split == "test" else gap.stored.validation_copies
    assert copies is not None
    assert copies.clean is not None
    assert copies.copied is not None
    copied, clean = copies.copied, copies.clean
    known, others = percent(copied.accuracy), percent(clean.accuracy)
    # Copies that lift test narrow the gap.
    is_lifted = interval is not None and (interval[1] < 0 if split == "test" else interval[0] > 0)
    result = f", so the {split} result looks better than it is" if is_lifted else ""
    return (
        f"{copied.count:,} of {pluralize(copied.count + clean.count, f'{split} image')} "
        f"{'has' if copied.count == 1 else 'have'} a copy, or an image of the same group, among the training images. "
        f"{known} of these are answered correctly, and {others} of the others{result}."
    )


def _explain_quality(term: Term, gap: Gap) -> str:
    quality, clean = gap.stored.quality, gap.clean_validation
    assert quality is not None
    assert clean is not None
    label = QUALITIES[quality.kind]
    unknown = "" if gap.stored.test_copies is not None else " How many of them are copies is not known."
    return (
        f"The test images are {label.name} (about {label.measure.format(strength=quality.strength)}). Made the same, "
        f"{percent(quality.tally.accuracy)} of the validation images are answered correctly instead of "
        f"{percent(clean.accuracy)}.{unknown}"
    )


def _explain_split_difference(term: Term, gap: Gap) -> str:
    validation, test = gap.degraded_validation, gap.labels_renamed
    assert validation is not None
    aside = ["copies"] if gap.stored.validation_copies is not None or gap.stored.test_copies is not None else []
    aside += ["image quality"] if gap.stored.quality is not None else []
    aside += ["pixel values"] if gap.stored.pixels is not None else []
    aside += ["the order of labels"] if gap.stored.labels is not None else []
    answers = f"answers {percent(validation.accuracy)} and {percent(test.accuracy)} of them correctly"
    return "The network was trained on neither validation nor test images. " + (
        f"{f'Leaving {join_with_and(aside)} aside, it' if aside else 'It'} {answers}: "
        f"{_describe_comparison(term.accuracy_interval)}."
    )


def _describe_comparison(interval: Bounds | None) -> str:
    if interval is not None and interval[0] > 0:
        return "the test images are harder for it"
    if interval is not None and interval[1] < 0:
        return "the test images are easier for it"
    return "the difference may be chance"


def _explain_label_order(term: Term, gap: Gap) -> str:
    return (
        f"With the test classes renamed, {percent(gap.labels_renamed.accuracy)} of the test images are answered "
        f"correctly instead of {percent(gap.pixels_undone.accuracy)}."
    )


def _explain_pixel_values(term: Term, gap: Gap) -> str:
    assert gap.stored.pixels is not None
    chosen, share = gap.stored.pixels.chosen, gap.stored.pixels.share
    undone = PIXELS[chosen].undone if chosen in PIXELS else "With the pixel values of test as they are"
    if share is not None:
        undone += f" in {describe_part(share)} of the test images, which look altered"
    return (
        f"{undone}, {percent(gap.pixels_undone.accuracy)} of the test images are "
        f"answered correctly instead of {percent(gap.clean_test.accuracy)}."
    )


def _format_loss(value: float) -> str:
    return format_figure(value, is_loss=True)


_SENTENCES: Mapping[TermCode, Callable[[Term, Gap], str]] = {
    "late_epochs": _explain_late_epochs,
    "generalisation": _explain_generalization,
    "copies_in_validation": _explain_copies,
    "image_quality": _explain_quality,
    "split_difference": _explain_split_difference,
    "label_order": _explain_label_order,
    "pixel_values": _explain_pixel_values,
    "copies_in_test": _explain_copies,
}
