"""The audit's finding about copies across splits: those that an ingest found, those that features found, or both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from heldout.fixes.offers import MAX_EXAMPLES, MAX_PAIRS, Pair
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import join_with_and, rough_percent

T = TypeVar("T")

CRITICAL_SHARE = 0.01  # of the images of a split
# Images of the first split that have a copy in the second.
COMPARED = (("test", "train"), ("validation", "train"), ("test", "validation"))
_NONE: Mapping[str, Any] = {"images": 0, "exact": 0, "near": 0}
_ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


def make_leakage(
    numbers: Mapping[str, Any],
    counts: Mapping[str, int],
    examples: Sequence[AuditExample] = (),
    pairs: Sequence[Pair] = (),
) -> AuditFinding | None:
    """Make the finding; None if no image has a copy in another split.

    Args:
        numbers: for each of COMPARED, as in `test_in_train`, how many `images` have a copy, and `how` they were
            changed. `undone`: splits whose pixel values were undone first.
        counts: the number of images of each split.
    """
    found, sentences, worst = dict[str, Any](), list[str](), 0.0
    for held, seen in COMPARED:
        part = numbers[f"{held}_in_{seen}"]
        images, share = part["images"], part["images"] / max(counts[held], 1)
        found[f"{held}_in_{seen}"] = {**part, "share": round(share, 6)}
        if images:
            how = (
                f" ({', '.join(f'{count:,} {name}' for name, count in part['how'].items())})" if part.get("how") else ""
            )
            sentences.append(
                f"{images:,} of {counts[held]:,} {_ADJECTIVES[held]} images ({rough_percent(share)}) also "
                f"{'appears' if images == 1 else 'appear'} in the {_ADJECTIVES[seen]} set{how}."
            )
        if seen == "train":
            worst = max(worst, share)
    if not sentences:
        return None
    if "undone" in numbers:
        found["undone"] = numbers["undone"]
        sentences.append(
            f"This counts copies that show once the pixel values of {join_with_and(numbers['undone'])} are undone."
        )
    if by_features := sum(part.get("by_features", 0) for part in found.values() if isinstance(part, Mapping)):
        every = by_features == sum(part["images"] for part in found.values() if isinstance(part, Mapping))
        which = "They were" if every else f"{by_features:,} of these were"
        sentences.append(f"{which} found by features, and proven by laying the images over each other.")
    return AuditFinding(
        code="leakage",
        severity="critical" if worst >= CRITICAL_SHARE else "warning",
        numbers=found,
        explanation=" ".join(sentences) + " A network recognizes images that it has seen, so results on them look "
        "better than they are.",
        what_to_do="Keep the copies in one split only. Or upload again and merge the splits, which keeps copies "
        "together.",
        examples=tuple(examples),
        pairs=tuple(pairs),
    )


def join_leakage(
    findings: Sequence[AuditFinding], by_features: AuditFinding | None, counts: Mapping[str, int]
) -> tuple[AuditFinding, ...]:
    """Join the finding of features, which counts other images, to that of the ingest."""
    if by_features is None:
        return tuple(findings)
    known = next((finding for finding in findings if finding.code == "leakage"), None)
    if known is None:
        return (*findings, by_features)
    numbers = dict(known.numbers)
    for held, seen in COMPARED:
        name = f"{held}_in_{seen}"
        first, second = known.numbers.get(name, _NONE), by_features.numbers[name]
        how = Counter(first.get("how", {})) + Counter(second.get("how", {}))
        numbers[name] = {
            **{what: first[what] + second[what] for what in ("images", "exact", "near")},
            **({"how": dict(how)} if how else {}),
            "by_features": second["by_features"],
        }
    joined = make_leakage(
        numbers,
        counts,
        _mix(known.examples, by_features.examples, MAX_EXAMPLES),
        _mix(known.pairs, by_features.pairs, MAX_PAIRS),
    )
    assert joined is not None
    return tuple(joined if finding is known else finding for finding in findings)


def _mix(first: Sequence[T], second: Sequence[T], most: int) -> list[T]:
    """Take some of both, so that each is seen."""
    from_second = min(len(second), max(most // 2, most - len(first)))
    return [*first[: most - from_second], *second[:from_second]]
