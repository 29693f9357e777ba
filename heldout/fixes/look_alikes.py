"""Images with different labels that look alike: the audit finding that asks a question, and its answer."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from heldout.fixes.bodies import LOOK_ALIKES
from heldout.fixes.changes import Index
from heldout.spec.job import SpecPart
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.stored.evaluation import SPLIT_NAMES

QUESTION = "Can you tell these apart?"
MAX_PAIRS = 200  # pairs in the finding; once these are answered, the next search shows others
MAX_DIFFERENT = 1000  # pairs that a dataset version remembers
MAX_EXAMPLES = 12

Pair = tuple[AuditExample, AuditExample]
Positions = Annotated[tuple[Index, Index], Field(strict=False)]


class DifferentSpec(SpecPart):
    """Pairs of images that look alike, and whether they are different."""

    pairs: tuple[Positions, ...] = Field(
        min_length=1, max_length=MAX_DIFFERENT, strict=False, description="Positions of two images each."
    )
    different: bool = Field(True, description="`false` removes an earlier mark as different.")


def make_finding(pairs: Sequence[Pair], count: int) -> AuditFinding:
    """Make the finding about pairs that look alike.

    Args:
        pairs: the pairs to show, at most MAX_PAIRS.
        count: how many pairs there are.
    """
    images = {example.index: example for pair in pairs for example in pair}
    of_splits = {split: sum(image.split == split for image in images.values()) for split in SPLIT_NAMES}
    listed = " and ".join(f"{number:,} of {split}" for split, number in of_splits.items() if number)
    more = f" The first {len(pairs):,} are shown." if count > len(pairs) else ""
    return AuditFinding(
        code=LOOK_ALIKES,
        severity="info",
        numbers={"pairs": count, "images": len(images), **of_splits},
        explanation=f"{pluralize(count, 'pair')} of images with different labels look alike.{more} They may be "
        "different things that differ in a detail, or one picture with two labels.",
        what_to_do=f'{QUESTION} If so, answer "They are different", and they are not reported again. If not, leave '
        f"them out: {pluralize(len(images), 'image')} ({listed}).",
        examples=tuple(images[index] for index in sorted(images)[:MAX_EXAMPLES]),
        pairs=tuple(pairs),
    )


def drop_answered(findings: Iterable[AuditFinding], different: Iterable[Sequence[int]]) -> list[AuditFinding]:
    """Drop the pairs of look-alikes that were marked as different since the audit."""
    answered = {tuple(sorted(pair)) for pair in different}
    found = []
    for finding in findings:
        if finding.code == LOOK_ALIKES and answered:
            left = [pair for pair in finding.pairs if _list_positions(pair) not in answered]
            if not left:
                continue
            finding = make_finding(left, finding.numbers["pairs"] - len(finding.pairs) + len(left))
        found.append(finding)
    return found


def pluralize(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _list_positions(pair: Pair) -> tuple[int, ...]:
    return tuple(sorted(example.index for example in pair))
