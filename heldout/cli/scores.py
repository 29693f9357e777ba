"""Results class by class, as text: which classes are mistaken for which, and the most confident mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from heldout.cli.figures import accuracy, points
from heldout.cli.screen import print_table, say

if TYPE_CHECKING:
    from heldout.views.confusion import ClassScores, ConfusionView, SplitScores


SHOWN_MISTAKES = 5

Split = Literal["train", "validation", "test"]


def show_scores(confusion: ConfusionView, split: Split) -> None:
    """One split of a job's kept weights."""
    found, classes = confusion.splits[split], confusion.classes
    rows = [_row(found, label, classes) for label in range(len(classes))]
    print_table(
        ("CLASS", "IMAGES", "PRECISION", "RECALL", "F1", "GAP", "MOST MISTAKEN FOR"), rows, right=(1, 2, 3, 4, 5)
    )
    say("")
    say(f"{split}; the gap is recall in training less recall here, in points.")
    say(f"calibration error: {accuracy(found.calibration_error)}")
    if found.mistakes:
        say("most confident mistakes:")
    for one in found.mistakes[:SHOWN_MISTAKES]:
        named = f" ({one.member})" if one.member else ""
        say(f"  image {one.index}{named}: {one.label} classified as {one.answer}, with {one.probability:.4f}")


def _row(found: SplitScores, label: int, classes: list[str]) -> tuple[str, ...]:
    scores: ClassScores = found.per_class[label]
    # Of many classes there is no matrix.
    answers = found.confusion[label] if found.confusion else [0]
    wrong = [0 if answer == label else count for answer, count in enumerate(answers)]
    most = max(range(len(wrong)), key=wrong.__getitem__)
    return (
        scores.label,
        f"{scores.count:,}",
        accuracy(scores.precision),
        accuracy(scores.recall),
        accuracy(scores.f1),
        points(scores.gap),
        f"{classes[most]} ({wrong[most]:,})" if wrong[most] else "",
    )
