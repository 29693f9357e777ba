"""A verdict in a headline and two sentences: what is wrong, what it costs, and what to do next.

Each verdict is one entry of `WORDS`. Headlines have at most 12 words, summaries two sentences and 40 words; the details
are in the diagnosis' explanation.
"""

from collections.abc import Callable, Mapping, Sequence

from heldout.diagnosis import headlines_of_data, headlines_of_training
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Cause, Finding
from heldout.diagnosis.thresholds import MAX_SUMMARY_WORDS
from heldout.words import Words, of_100


def describe(facts: Facts, findings: Sequence[Finding], causes: Sequence[Cause]) -> tuple[str, str]:
    """The headline and the summary of what to fix first, and what after it. findings: one of each cause."""
    (_, first), *others = [
        (cause, WORDS[cause.code](facts, finding)) for cause, finding in zip(causes, findings, strict=True)
    ]
    alone = f"{first.effect} {first.action}."
    # Two causes can be one fault, such as wrong pixel values: mention it once.
    next_steps = (
        words.then
        for cause, words in others
        if cause.tier in ("figures_not_true", "rest_of_gap") and words.headline != first.headline
    )
    after = next(next_steps, "")
    before = first.action if first.before_next is None else first.before_next
    both = f"{first.effect} {before}, then {after}."
    return first.headline, both if before and after and len(both.split()) <= MAX_SUMMARY_WORDS else alone


WORDS: Mapping[str, Callable[[Facts, Finding], Words]] = {
    "preprocessing_mismatch": headlines_of_data.describe_other_pixels,
    "leakage": headlines_of_data.describe_leakage,
    "label_order_mismatch": headlines_of_data.describe_label_order,
    "scale_mismatch": headlines_of_data.describe_scale,
    "split_shift": headlines_of_data.describe_split_shift,
    "label_conflicts": headlines_of_data.describe_conflicts,
    "label_noise": headlines_of_data.describe_noise,
    "memorised_noise": headlines_of_data.describe_memorized_noise,
    "class_imbalance": headlines_of_training.describe_imbalance,
    "collapsed_class": headlines_of_training.describe_collapsed,
    "diverged": headlines_of_training.describe_diverged,
    "underfitting": headlines_of_training.describe_underfitting,
    "not_converged": headlines_of_training.describe_not_converged,
    "overfitting": headlines_of_training.describe_memorized,
    "too_little_data": headlines_of_training.describe_memorized,
    "overconfidence": headlines_of_training.describe_overconfidence,
    "test_too_small": headlines_of_data.describe_few_test_images,
    "metric_artefact": headlines_of_data.describe_artefact,
}


def describe_healthy(train: SplitFigures | None, heldout: SplitFigures | None, name: str) -> tuple[str, str]:
    """For a training in which nothing has to be fixed. name: of the held-out split."""
    known = "Validation did not get worse again."
    if train is not None and heldout is not None:
        known = f"It gets {of_100(heldout.accuracy)} {name} images right, and {of_100(train.accuracy)} training images."
    return "No fault was found.", f"{known} Nothing has to be fixed; a study can still measure what helps."
