"""What each term of a gap means, in a sentence with the figures that it lies between."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from heldout.diagnosis.gap.budget import (
    Bounds,
    Gap,
    Levels,
    Term,
    TermCode,
    accuracy_of,
    chosen_pixels,
    late_epoch_by_accuracy,
    late_epoch_by_loss,
    levels_of,
)
from heldout.stored.gap import HeldOutCopies, StoredGap
from heldout.words import counted, figure_of, listed, part_of, percent
from heldout.words.labels import PIXELS


def explained(gap: Gap, stored: StoredGap) -> Gap:
    """The gap with a sentence to each term."""
    levels = levels_of(stored)
    assert levels is not None
    return replace(
        gap,
        terms=tuple(replace(term, explanation=_SENTENCES[term.code](term, levels, stored)) for term in gap.terms),
    )


def _late_epochs(term: Term, levels: Levels, stored: StoredGap) -> str:
    by_accuracy, by_loss = late_epoch_by_accuracy(stored), late_epoch_by_loss(stored)
    assert stored.validation is not None
    said = []
    if by_accuracy is not None:
        said.append(
            f"Epoch {by_accuracy.epoch} answered {percent(accuracy_of(by_accuracy.validation))} of the validation "
            f"images correctly, the kept epoch {stored.kept_epoch} {percent(accuracy_of(stored.validation))}."
        )
    if by_loss is not None:
        said.append(
            f"The validation loss was {_loss(by_loss.validation.loss)} in epoch {by_loss.epoch}, and is "
            f"{_loss(stored.validation.loss)} in the kept epoch {stored.kept_epoch}."
        )
    return " ".join(said) or "No earlier epoch was surely better on the validation images than the kept one."


def _generalisation(term: Term, levels: Levels, stored: StoredGap) -> str:
    """By the figures that the term lies between: of the best epoch where later ones cost something."""
    trained, heldout = accuracy_of(levels.train), accuracy_of(levels.best_by_accuracy)
    if levels.validation is None:
        copies = stored.test_copies
        aside = " without copies of training images" if copies is not None and copies.clean is not None else ""
        return (
            f"The network answers {percent(trained)} of the training images correctly, and {percent(heldout)} of the "
            f"test images{aside}. How much of that is because test images are harder, only answers to validation "
            "images can tell."
        )
    late = late_epoch_by_accuracy(stored)
    when = "" if late is None else f" in epoch {late.epoch}"
    return f"The network answers {percent(trained)} of the training images correctly, and " + (
        f"{percent(heldout)} of the validation images{when}, which it was not trained on."
    )


def _copies_in_validation(term: Term, levels: Levels, stored: StoredGap) -> str:
    return _copies(term.accuracy_interval, "validation", stored.validation_copies)


def _copies_in_test(term: Term, levels: Levels, stored: StoredGap) -> str:
    interval = term.accuracy_interval
    return _copies(None if interval is None else (-interval[1], -interval[0]), "test", stored.test_copies)


def _copies(lift: Bounds | None, split: str, copies: HeldOutCopies | None) -> str:
    assert copies is not None
    assert copies.clean is not None
    assert copies.copied is not None
    copied, clean = copies.copied, copies.clean
    known, others = percent(accuracy_of(copied)), percent(accuracy_of(clean))
    result = f", so the {split} result looks better than it is" if lift is not None and lift[0] > 0 else ""
    return (
        f"{copied.count:,} of {counted(copied.count + clean.count, f'{split} image')} "
        f"{'has' if copied.count == 1 else 'have'} a copy, or an image of the same group, among the training images. "
        f"{known} of these are answered correctly, and {others} of the others{result}."
    )


def _split_difference(term: Term, levels: Levels, stored: StoredGap) -> str:
    validation, test = levels.clean_validation, levels.labels_renamed
    assert validation is not None
    aside = ["copies"] if stored.validation_copies is not None or stored.test_copies is not None else []
    aside += ["pixel values"] if stored.pixels is not None else []
    aside += ["the order of labels"] if stored.labels is not None else []
    answers = f"answers {percent(accuracy_of(validation))} and {percent(accuracy_of(test))} of them correctly"
    return "The network was trained on neither validation nor test images. " + (
        f"{f'Leaving {listed(aside)} aside, it' if aside else 'It'} {answers}: {_compared(term.accuracy_interval)}."
    )


def _compared(interval: Bounds | None) -> str:
    if interval is not None and interval[0] > 0:
        return "the test images are harder for it"
    if interval is not None and interval[1] < 0:
        return "the test images are easier for it"
    return "chance alone can make that difference"


def _label_order(term: Term, levels: Levels, stored: StoredGap) -> str:
    return (
        f"With the test classes renamed, {percent(accuracy_of(levels.labels_renamed))} of the test images are answered "
        f"correctly instead of {percent(accuracy_of(levels.pixels_undone))}."
    )


def _pixel_values(term: Term, levels: Levels, stored: StoredGap) -> str:
    assert stored.pixels is not None
    chosen, share = chosen_pixels(stored.pixels), stored.pixels.share
    undone = PIXELS[chosen].undone if chosen in PIXELS else "With the pixel values of test as they are"
    if share is not None:
        undone += f" in {part_of(share)} of the test images, which look altered"
    return (
        f"{undone}, {percent(accuracy_of(levels.pixels_undone))} of the test images are "
        f"answered correctly instead of {percent(accuracy_of(levels.clean_test))}."
    )


def _loss(value: float) -> str:
    return figure_of(value, is_loss=True)


_SENTENCES: Mapping[TermCode, Callable[[Term, Levels, StoredGap], str]] = {
    "late_epochs": _late_epochs,
    "generalisation": _generalisation,
    "copies_in_validation": _copies_in_validation,
    "split_difference": _split_difference,
    "label_order": _label_order,
    "pixel_values": _pixel_values,
    "copies_in_test": _copies_in_test,
}
