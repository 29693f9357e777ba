"""Label order mismatch: a held-out split, or part of it, numbers its classes in another order than training does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.copy_labels import count_agreeing_copies, is_disproved_by_copies
from heldout.diagnosis.evaluation import SplitFigures, compute_own_chance
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.renamed_part import find_renamed_part
from heldout.diagnosis.renaming import (
    Pair,
    compute_chance_of_renaming,
    find_best_renaming,
    get_known_classes,
    has_other_pixels,
    is_known,
    is_shown_by_frequencies,
    list_pairs,
    list_pairs_by_answers,
    list_usual_renamings,
    measure_distance,
)
from heldout.fixes.offers import offer_renamed_test, offer_renaming
from heldout.statistics import compute_newcombe_interval, compute_paired_interval, compute_wilson_interval
from heldout.stored.gap import StoredGap
from heldout.words import percent

# The other held-out split.
OTHER = {"test": "validation", "validation": "test"}


def find_label_order(facts: Facts) -> list[Finding]:
    """Report what the audit found, or else a renaming of test's classes that clearly makes answers right.

    A usual renaming is recognized with few images, and answers worse than guessing need no renaming as evidence.
    """
    pair, found = find_worse_than_guessing(facts), facts.audited.get("label_order_mismatch", ())
    if not found:
        if facts.budget is None:
            renamed = _find_by_confusion(facts)
        else:
            renamed = _find_usually_renamed(facts) or _find_measured(facts) or _find_part_renamed(facts)
        if renamed is None and pair is not None:
            renamed = _explain_without_renaming(facts, *pair)
        found = [] if renamed is None else [renamed]
    worse = {} if pair is None else {"worse_than_guessing": True, "by_answers": True}
    return [_doubt(facts, replace(finding, evidence=finding.evidence | worse)) for finding in found]


def _doubt(facts: Facts, finding: Finding) -> Finding:
    """Say that a renaming is only possible if the answers to whole classes could look like it by chance.

    Two classes have only one renaming, so there is nothing to compare it with. Answers to other pixels show no order.
    """
    split = finding.evidence.get("split", "test")
    figures = facts.validation if split == "validation" else facts.test
    is_renaming = "share" in finding.evidence or "renamed" in finding.evidence
    if not is_renaming or figures is None or len(figures.confusion) != len(facts.classes) or len(facts.classes) < 3:
        return finding
    if facts.is_undone(split) or has_other_pixels(facts, split):
        return finding
    chance = compute_chance_of_renaming(figures.confusion, list_usual_renamings(facts.classes))
    names = finding.evidence.get("renamed", {})
    renaming = [facts.classes.index(names.get(name, name)) for name in facts.classes]
    if chance <= thresholds.MAX_CHANCE_OF_RENAMING or is_shown_by_frequencies(facts, split, figures, renaming):
        return finding
    return replace(
        finding,
        severity="warning",
        explanation=f"The {split} labels may be in another order, but that may be chance. If the images of a class "
        f"show one object, wrong answers fit a common renaming this well in {percent(chance)} of cases. "
        f"{finding.explanation}",
        evidence=finding.evidence | {"chance_of_renaming": chance},
        # Renaming the classes without looking may exchange labels that are right.
        remedies=remedies.suggest_data_fix(f"Compare a few {split} images of each class with training images."),
    )


def find_worse_than_guessing(facts: Facts) -> Pair | None:
    """The held-out split that is clearly answered worse than by guessing, if the other one is clearly better.

    None without a measured gap: then different pixel values, which can cause such answers too, were not ruled out.
    """
    if facts.budget is None or len(facts.classes) < 2:
        return None
    for split, figures, other in list_pairs(facts):
        high = compute_wilson_interval(*_count_right(facts, split, figures), thresholds.COMPARISON_CONFIDENCE)[1]
        if high < 1 / len(facts.classes) and is_known(facts, other) and not has_other_pixels(facts, split):
            return split, figures, other
    return None


def _count_right(facts: Facts, split: str, figures: SplitFigures) -> tuple[int, int]:
    """Correct answers and images, with pixel values undone, because wrong pixels also cause bad answers."""
    pixels = None if facts.gap is None else facts.gap.get_pixels(split)
    if pixels is not None and facts.is_undone(split):
        return pixels.tally.counts
    return figures.counts


def _find_usually_renamed(facts: Facts) -> Finding | None:
    found = find_whole_renamed(facts)
    if found is None:
        return None
    evidence = {"split": found.split, "difference_interval": [*found.interval], "by_answers": True}
    return _make_finding(facts, found, evidence, offer_renaming(found.split, found.map_names(facts.classes)))


def _explain_without_renaming(facts: Facts, split: str, figures: SplitFigures, other: SplitFigures) -> Finding:
    guessing = 1 / len(facts.classes)
    return Finding(
        "label_order_mismatch",
        "critical",
        f"The network answers {percent(figures.accuracy)} of the {split} images correctly, which is worse than "
        f"guessing ({percent(guessing)}), but {percent(other.accuracy)} of the {OTHER[split]} images. Images that are "
        "only harder would be answered at least as well as by guessing, so the labels of "
        f"{split} do not belong to its images. No renaming of classes explains it.",
        {"split": split, f"{split}_accuracy": figures.accuracy, "chance": guessing, "by_answers": True},
        remedies.suggest_data_fix(f"Check how the labels of the {split} split were joined to its images."),
    )


def _find_measured(facts: Facts) -> Finding | None:
    """Report a renaming that one half of test chose and the other half confirms."""
    gap = facts.budget
    if gap is None or gap.stored.labels is None:
        return None
    labels = gap.stored.labels
    renaming = next((of_half for of_half in labels.renamings if of_half is not None), None)
    change = labels.change
    interval = compute_paired_interval(change.gained, change.lost, change.count, thresholds.COMPARISON_CONFIDENCE)
    if renaming is None or interval[0] <= thresholds.MAX_SELECTION_EFFECT or not is_known(facts, facts.validation):
        return None
    before, after = gap.pixels_undone.accuracy, gap.labels_renamed.accuracy
    missing = 0.0 if gap.clean_validation is None else gap.clean_validation.accuracy - before
    # A renaming that gains little is often chance: any classes that are confused have one.
    is_little = interval[0] < thresholds.MIN_CRITICAL_SHIFT
    if is_little and after - before < thresholds.MIN_EXPLAINED_BY_USUAL * missing:
        return None
    found = Renamed("test", renaming, before, after, interval)
    aside = mention_left_out_copies(gap.stored) + (" and with its pixel values fixed" if gap.stored.pixels else "")
    fix = offer_renamed_test(labels, tuple(facts.classes))
    return _make_finding(facts, found, {"difference_interval": [*interval]}, fix, aside)


def mention_left_out_copies(gap: StoredGap, split: str = "test") -> str:
    """If copies of training images are left out, a phrase that says so, with a leading space."""
    copies = gap.validation_copies if split == "validation" else gap.test_copies
    return "" if copies is None or copies.clean is None else " without copies of training images"


def _find_by_confusion(facts: Facts) -> Finding | None:
    """Report a renaming that makes test nearly as good as validation."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or len(test.confusion) < 2:
        return None
    if test.accuracy > validation.accuracy - thresholds.MIN_CRITICAL_SHIFT:
        return None
    # Every matrix has a best renaming. It only counts if it explains most of the accuracy missing against validation.
    explained = test.accuracy + thresholds.MIN_EXPLAINED_BY_RENAMING * (validation.accuracy - test.accuracy)
    renamed = find_best_renaming(test.confusion, more_than=explained * test.count)
    if renamed is None:
        return None
    accuracy = sum(row[answer] for row, answer in zip(test.confusion, renamed, strict=True)) / test.count
    interval = compute_newcombe_interval(
        (round(accuracy * test.count), test.count), test.counts, thresholds.COMPARISON_CONFIDENCE
    )
    if interval[0] <= thresholds.MIN_CRITICAL_SHIFT:
        return None
    found = Renamed("test", renamed, test.accuracy, accuracy, interval)
    # This is too little evidence to offer a renaming that is applied without looking.
    return _make_finding(facts, found, {"validation_accuracy": validation.accuracy}, None)


@dataclass(frozen=True)
class Renamed:
    """A split with renamed classes. before, after: accuracy with the labels as they are, and with the right names.

    interval: of the difference. share: share of its labels that are renamed; None if all are.
    """

    split: str
    renaming: Sequence[int]
    before: float
    after: float
    interval: tuple[float, float]
    share: float | None = None

    def map_names(self, names: Sequence[str]) -> dict[str, str]:
        """The class that each renamed class means."""
        return {names[given]: names[meant] for given, meant in enumerate(self.renaming) if given != meant}


def choose_severity(low: float) -> Severity:
    """The severity of a split that differs. low: lower bound of the accuracy that this costs."""
    return "critical" if low > thresholds.MIN_CRITICAL_SHIFT else "warning"


def _make_finding(
    facts: Facts, found: Renamed, evidence: dict[str, Any], fix: dict[str, Any] | None, aside: str = ""
) -> Finding:
    """aside: what was left out of the accuracy, such as ` without copies`."""
    split, before, after = found.split, found.before, found.after
    mapping = found.map_names(facts.classes or tuple(map(str, range(len(found.renaming)))))
    shown = ", ".join(f"{given} → {meant}" for given, meant in list(mapping.items())[:10])
    shown += ", …" if len(mapping) > 10 else ""
    advice = f"Number the classes of the {split} split as the training split does."
    as_they_are, renamed = count_agreeing_copies(_get_label_pairs(facts, split), found.renaming)
    of_copies = ""
    if as_they_are + renamed:
        evidence = evidence | {"copies": {"agreeing": as_they_are, "agreeing_renamed": renamed}}
        of_copies = (
            f" Of its copies of training images, {as_they_are:,} have the label of their copy as they are, and "
            f"{renamed:,} if they are renamed."
        )
    return Finding(
        "label_order_mismatch",
        choose_severity(found.interval[0]),
        f"The {split} split numbers its classes in a different order than training and {OTHER[split]} do: {split} "
        f"accuracy is {percent(before)}{aside}, and {percent(after)} if the classes are renamed ({shown}).{of_copies}",
        {f"{split}_accuracy": before, f"{split}_accuracy_renamed": after, "renamed": mapping, **evidence},
        remedies.suggest_data_fix(advice, fix),
    )


def find_whole_renamed(facts: Facts) -> Renamed | None:
    """The usual renaming of a whole held-out split that clearly makes answers right.

    It must restore at least half of what this split lacks compared with the other one, which is answered better, and at
    most twice as much. Gains by chance, if a frequent answer gets the name of a frequent class, do not count unless
    class frequencies show the same renaming.
    """
    found = (
        _find_best_whole(facts, split, figures, other)
        for split, figures, other in list_pairs_by_answers(facts)
        if figures.accuracy < other.accuracy
    )
    return next((renamed for renamed in found if renamed is not None), None)


def _find_best_whole(facts: Facts, split: str, figures: SplitFigures, other: SplitFigures) -> Renamed | None:
    renamings = list_usual_renamings(facts.classes)
    best, at_least = None, thresholds.MAX_SELECTION_EFFECT
    count, missing = sum(map(sum, figures.confusion)), other.accuracy - figures.accuracy
    known = get_known_classes(facts, split, figures)
    as_they_are = measure_distance(figures.confusion, known)
    for renaming in renamings:
        if is_disproved_by_copies(_get_label_pairs(facts, split), renaming):
            continue
        moved = [label for label, means in enumerate(renaming) if means != label]
        gained = sum(figures.confusion[label][renaming[label]] for label in moved)
        lost = sum(figures.confusion[label][label] for label in moved)
        gain = (gained - lost) / count
        low, high = compute_paired_interval(gained, lost, count, _compute_confidence(renamings))
        if low <= at_least:
            continue
        by_chance = compute_own_chance(figures, len(renaming), renaming) - compute_own_chance(figures, len(renaming))
        least, distance = at_least, measure_distance(figures.confusion, known, renaming)
        if is_shown_by_frequencies(facts, split, figures, renaming):
            by_chance = 0.0
        elif distance >= as_they_are + thresholds.MIN_DISTANCE_OF_CLASSES:
            least = max(at_least, thresholds.MIN_CRITICAL_SHIFT)
        fewest, most = (
            times * missing for times in (thresholds.MIN_EXPLAINED_BY_USUAL, thresholds.MAX_EXPLAINED_BY_USUAL)
        )
        if low - max(0.0, by_chance) > least and fewest <= gain <= most:
            best, at_least = Renamed(split, renaming, figures.accuracy, figures.accuracy + gain, (low, high)), low
    return best


def _get_label_pairs(facts: Facts, split: str) -> Sequence[Sequence[int]]:
    """Copies in a held-out split by their label and that of their copy in training; empty if unknown."""
    gap = facts.gap
    copies = None if gap is None else gap.validation_copies if split == "validation" else gap.test_copies
    return () if copies is None else copies.label_pairs


def find_test_renamed(facts: Facts) -> Renamed | None:
    """A usual mistake in all labels of test, or in some of them."""
    found = find_whole_renamed(facts)
    if found is not None and found.split == "test":
        return found
    return next((part for part in _find_parts(facts) if part.split == "test"), None)


def _find_parts(facts: Facts) -> Iterator[Renamed]:
    """For each held-out split, the usual renaming that some of its labels follow, judging by the other split's answers.

    With only two classes, a harder split looks the same as a renamed part.
    """
    if len(facts.classes) < thresholds.FEWEST_CLASSES_OF_PART:
        return
    renamings = list_usual_renamings(facts.classes)
    for split, figures, other in list_pairs_by_answers(facts):
        if len(other.confusion) != len(facts.classes):
            continue
        part = find_renamed_part(figures.confusion, other.confusion, renamings)
        if part is None:
            continue
        answered = [round(share * count) for share, count in zip(part.answered, part.counts, strict=True)]
        here, there = zip(answered, part.counts, strict=True)
        moved = part.counts[0] / figures.count
        low, high = (bound * moved for bound in compute_newcombe_interval(here, there))
        after = figures.accuracy + (part.answered[0] - part.answered[1]) * moved
        yield Renamed(split, part.renaming, figures.accuracy, after, (low, high), part.share * moved)


def _compute_confidence(renamings: Sequence[Sequence[int]]) -> float:
    """The confidence for one renaming: all renamings tried share the allowed false alarms."""
    return 1 - (1 - thresholds.COMPARISON_CONFIDENCE) / max(1, len(renamings))


def _find_part_renamed(facts: Facts) -> Finding | None:
    """Report a part of a held-out split whose labels are numbered in another order."""
    found = next(_find_parts(facts), None)
    if found is None:
        return None
    split, names, share = found.split, facts.classes, found.share or 0.0
    label = next(label for label, means in enumerate(found.renaming) if means != label)
    return Finding(
        "label_order_mismatch",
        choose_severity(found.interval[0]),
        f"About {percent(share)} of the {split} labels appear to number the classes in a different order than training "
        f"and {OTHER[split]} do. For example, the network answers {names[found.renaming[label]]!r} where the label "
        f"says {names[label]!r}. {split.capitalize()} accuracy is {percent(found.before)}; with these labels "
        f"corrected, it would be about {percent(found.after)}.",
        {
            "split": split,
            "share": share,
            f"{split}_accuracy": found.before,
            f"{split}_accuracy_renamed": found.after,
            "difference_interval": [*found.interval],
            "by_answers": True,
        },
        remedies.suggest_data_fix(
            f"Find the {split} labels that follow a different list of classes, and renumber them as in training."
        ),
    )
