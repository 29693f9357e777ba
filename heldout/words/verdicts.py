"""A verdict in a headline and two sentences: what is wrong, what it costs, and what to do next.

Each verdict is one entry of `WORDS`. Headlines have at most 12 words; summaries have at most two sentences and 40
words. The details are in the diagnosis' explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from heldout.verdicts import BROKEN, FAULTS, FINDING_KINDS, require_every_kind
from heldout.words import Words, of_100, percent, pluralize, quote_name, verdicts_of_data, verdicts_of_training

if TYPE_CHECKING:
    from heldout.diagnosis.evaluation import SplitFigures
    from heldout.diagnosis.facts import Facts
    from heldout.diagnosis.findings import Cause, Finding

# The API promises these limits. A longer summary leaves out what to fix second.
MAX_HEADLINE_WORDS, MAX_SUMMARY_WORDS = 12, 40
# Without its copies, a gap of at least this is worth a sentence even if its cause is unknown.
MIN_REMAINING_GAP = 0.03
# Verdicts that state what was counted, which is true whether it comes first or not, or how something looks.
CAREFUL = frozenset(
    {"class_imbalance", "label_conflicts", "label_noise", "leakage", "memorised_noise", "test_too_small"}
)
# Faults of training, which make all results poor.
OF_TRAINING = frozenset({"evaluation_lags", "diverged", "underfitting", "not_converged"})


def describe(facts: Facts, findings: Sequence[Finding], causes: Sequence[Cause]) -> tuple[str, str]:
    """The headline and the summary: what to fix first, and what next. findings: one for each cause."""
    (_, first), *others = [
        (cause, _describe_proof(finding, WORDS[cause.code](facts, finding)))
        for cause, finding in zip(causes, findings, strict=True)
    ]
    if others and others[0][0].code in FAULTS and causes[0].code in BROKEN:
        first, others = replace(first, action=others[0][1].action, before_next=None), others[1:]
    first = _name_cause_of_gap(facts, first, causes)
    alone = f"{first.effect} {first.action}."
    after_first = ("figures_not_true", "rest_of_gap", *(("training_broken",) if first.flatters else ()))
    # Two causes can be one fault, such as wrong pixel values: mention it once.
    next_steps = (
        words.then for cause, words in others if cause.tier in after_first and words.headline != first.headline
    )
    after = next(next_steps, "")
    before = first.action if first.before_next is None else first.before_next
    both = f"{first.effect} {before}, then {after}."
    return first.headline, both if before and after and len(both.split()) <= MAX_SUMMARY_WORDS else alone


def _describe_proof(finding: Finding, words: Words) -> Words:
    """If an experiment proves the finding, say what it gave instead of what the curves suggest."""
    proof = finding.evidence.get("proof")
    return words if proof is None else replace(words, effect=proof)


def _name_cause_of_gap(facts: Facts, first: Words, causes: Sequence[Cause]) -> Words:
    """If results look better than they are, also say what makes test results poor: the next cause, if one is known."""
    if not first.flatters:
        return first
    # With a measured gap, it is known whether a cause has a part in it.
    named = [cause.code for cause in causes[1:] if facts.budget is None or cause.tier != "other"]
    headlines = [
        f"{first.flatters}; {'poor results come' if code in OF_TRAINING else 'the gap comes'} from {part}."
        for code in named
        if (part := FINDING_KINDS[code].part) is not None
    ]
    headline = next((text for text in headlines if len(text.split()) <= MAX_HEADLINE_WORDS), None)
    if headline is not None:
        effect = f"{first.headline.removesuffix('.')}: {first.effect[0].lower()}{first.effect[1:]}"
        return replace(first, headline=headline, effect=effect)
    gap = facts.budget
    if gap is None or gap.train.accuracy - gap.clean_test.accuracy < MIN_REMAINING_GAP:
        return first
    return replace(first, effect=f"{first.effect.removesuffix('.')}; no other cause of the gap was found.")


def soften(headline: str, verdict: str) -> str:
    """Return the headline of a verdict that is not sure."""
    text = headline.removeprefix("About ")  # one word of doubt is enough
    return headline if verdict in CAREFUL else f"Perhaps {text[0].lower()}{text[1:]}"


def describe_healthy(
    train: SplitFigures | None,
    heldout: SplitFigures | None,
    name: str,
    *,
    may_train_on: bool = False,
    is_gap_likely: bool = False,
) -> tuple[str, str]:
    """The headline and the summary if no fault was found.

    Args:
        name: of the held-out split.
        may_train_on: whether the last epoch was the best one, so nothing shows that training had ended.
        is_gap_likely: whether training images are answered better by more than chance, if all images are independent.
    """
    known = "Validation did not get worse again."
    if train is not None and heldout is not None:
        known = f"It gets {of_100(heldout.accuracy)} {name} images right, and {of_100(train.accuracy)} training images."
    headline, after = "No fault was found.", "Nothing needs fixing, but a study can still measure what helps."
    if may_train_on:
        headline = "Its best epoch was its last one."
        after = "It was still improving, so train longer to see whether more is to be gained."
    elif is_gap_likely:
        after = "A study can measure what narrows the gap that is left."
    return headline, f"{known} {after}"


def describe_imbalance(facts: Facts, finding: Finding) -> Words:
    smallest, largest = finding.evidence.get("smallest"), finding.evidence.get("largest")
    action, then = "Weight the classes, or collect more images of that class", "weight the classes"
    if "proposed_objective" in finding.evidence:
        action = "Judge by balanced accuracy (`objective`), and measure whether class weights help"
    if smallest is None or largest is None:
        return Words("A class has no training images.", "The network cannot learn it.", "Collect images of it", then)
    return Words(
        f"Class {quote_name(smallest['class'])} has only {pluralize(smallest['count'], 'training image')}.",
        f"The largest class has {largest['count']:,}, so the network can ignore the small one and still look accurate.",
        action,
        then,
    )


def describe_collapsed(facts: Facts, finding: Finding) -> Words:
    evidence = finding.evidence
    right = round(evidence["recall"] * evidence["count"]) if "recall" in evidence else 0
    images = pluralize(evidence.get("count", 0), f"{evidence.get('split', 'validation')} image")
    name = quote_name(evidence.get("class", "?"))
    if "others" in evidence:  # the job's objective counts classes
        known, others = evidence["others"]
        return Words(
            f"The network often misses class {name}.",
            f"{right:,} of {images} of that class are found; of the others {of_100(known / max(others, 1))}.",
            "Measure whether class weights or balanced sampling help, and collect more images of that class",
            "measure whether class weights help",
        )
    return Words(
        f"The network does not recognize class {name}.",
        f"It gets {right:,} of {images} of that class right, though it recognizes most others.",
        "Check the labels of that class and collect more images of it",
        f"check class {name}",
    )


def describe_worst_group(facts: Facts, finding: Finding) -> Words:
    evidence = finding.evidence
    name = f"{quote_name(evidence['column'])} {quote_name(evidence['value'])}"
    images = pluralize(evidence["count"], f"{evidence['split']} image")
    right, others = evidence["right"] / evidence["count"], evidence["others"][0] / evidence["others"][1]
    is_proposed = "proposed_objective" in evidence
    return Words(
        f"Images of {name} are answered worse.",
        f"{percent(right, 0)} of {images} of it are right, others {percent(others, 0)}.",
        "Judge by the worst group (`objective`), and collect more images of it"
        if is_proposed
        else "Look at the mistakes in that group, and collect more images of it",
        "judge by the worst group" if is_proposed else "look at that group",
    )


def describe_shortcut(facts: Facts, finding: Finding) -> Words:
    evidence, name = finding.evidence, quote_name(finding.evidence["column"])
    if "what" not in evidence:
        return Words(
            f"{name} predicts labels almost as well as the network.",
            f"Alone it gets {of_100(evidence['alone'] / evidence['count'])} right, so the network may rely on it.",
            f"Collect images whose class does not follow from {name}",
            "collect such images",
        )
    what, lost, control = evidence["what"], 100 * evidence["lost"], 100 * evidence["lost_by_control"]
    return Words(
        f"The network relies on the {what}.",
        f"Exchanging it between classes costs {lost:.0f} points; within a class it costs {control:.0f}.",
        f"Make the {what} alike in all images, and train again",
        f"make the {what} alike",
    )


WORDS: Mapping[str, Callable[[Facts, Finding], Words]] = {
    "preprocessing_mismatch": verdicts_of_data.describe_other_pixels,
    "leakage": verdicts_of_data.describe_leakage,
    "label_order_mismatch": verdicts_of_data.describe_label_order,
    "scale_mismatch": verdicts_of_data.describe_scale,
    "split_shift": verdicts_of_data.describe_split_shift,
    "label_conflicts": verdicts_of_data.describe_conflicts,
    "label_noise": verdicts_of_data.describe_noise,
    "memorised_noise": verdicts_of_data.describe_memorized_noise,
    "class_imbalance": describe_imbalance,
    "collapsed_class": describe_collapsed,
    "worst_group": describe_worst_group,
    "shortcut_suspected": describe_shortcut,
    "evaluation_lags": verdicts_of_training.describe_lagging,
    "diverged": verdicts_of_training.describe_diverged,
    **dict.fromkeys(FAULTS, verdicts_of_training.describe_fault),
    "underfitting": verdicts_of_training.describe_underfitting,
    "not_converged": verdicts_of_training.describe_not_converged,
    "overfitting": verdicts_of_training.describe_memorized,
    "too_little_data": verdicts_of_training.describe_memorized,
    "overconfidence": verdicts_of_training.describe_overconfidence,
    "test_too_small": verdicts_of_data.describe_few_test_images,
    "metric_artefact": verdicts_of_data.describe_artefact,
}
require_every_kind(WORDS, "sentences about findings")
