"""The rules, ordered from closest to the data to closest to the figures. `causes.py` decides what to fix first.

Without a measured gap, that is the most serious finding; among equally serious ones, the first in this order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules import (
    class_imbalance,
    collapsed_class,
    diverged,
    few_test_images,
    kept_weights,
    label_conflicts,
    label_noise,
    label_order_mismatch,
    leakage,
    memorised_noise,
    metric_artefact,
    not_converged,
    other_pixels,
    overconfidence,
    overfitting,
    scale_mismatch,
    split_shift,
    too_little_data,
    underfitting,
)
from heldout.verdicts import require_every_kind


@dataclass(frozen=True)
class Rule:
    """Finds what is reported under a code.

    silent_beside: codes of findings that explain the same figures better and silence this rule.
    explained_by: further such codes if no measured gap says how much each finding explains.
    silences: whether the findings of this rule may silence other rules.
    """

    code: str
    find: Callable[[Facts], list[Finding]]
    silent_beside: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    silences: bool = True


RULES = (
    Rule(other_pixels.CODE, other_pixels.find),
    Rule("leakage", leakage.find),
    Rule("split_shift", split_shift.find_in_images),
    Rule("split_shift", split_shift.find_in_accuracy, silent_beside=("scale_mismatch", "label_order_mismatch")),
    Rule("split_shift", split_shift.find_in_pixels),
    Rule("split_shift", split_shift.find_in_measured_gap),
    Rule("scale_mismatch", scale_mismatch.find),
    Rule("label_order_mismatch", label_order_mismatch.find),
    Rule("label_conflicts", label_conflicts.find),
    Rule("label_noise", label_noise.find, silent_beside=("diverged",)),
    # Labels in another order are wrong labels too: one fault, reported once.
    Rule("label_noise", label_noise.find_beside_others, silent_beside=("label_order_mismatch",), silences=False),
    Rule("memorised_noise", memorised_noise.find),
    Rule("class_imbalance", class_imbalance.find),
    Rule("collapsed_class", collapsed_class.find_in_validation),
    Rule("collapsed_class", collapsed_class.find_in_test, silent_beside=("split_shift",)),
    Rule("diverged", diverged.find),
    # Memorizing noise is overfitting too, but it has a different cure.
    Rule("overfitting", overfitting.find, silent_beside=("diverged", "memorised_noise")),
    Rule("overfitting", kept_weights.find_stopped_in_time, silent_beside=("diverged",)),
    Rule("overconfidence", overconfidence.find, silent_beside=("diverged", "memorised_noise")),
    Rule("underfitting", underfitting.find, silent_beside=("diverged", "label_noise", "not_converged")),
    Rule("not_converged", kept_weights.find_kept_too_early, silent_beside=("diverged",)),
    Rule("not_converged", not_converged.find_both_losses_falling, silent_beside=("diverged",)),
    Rule("not_converged", not_converged.find_training_unknown_yet, silent_beside=("diverged", "label_noise")),
    Rule("too_little_data", too_little_data.find, ("diverged",), explained_by=too_little_data.EXPLAINED_BY),
    Rule("test_too_small", few_test_images.find),
    Rule("metric_artefact", metric_artefact.find),
)
require_every_kind({rule.code for rule in RULES}, "rules")
GRAVITY = ("critical", "warning", "info")


def collect_findings(facts: Facts) -> tuple[Finding, ...]:
    """All findings, the most serious first, then in the order of the rules."""
    found = [(rule, rule.find(facts)) for rule in RULES]
    is_measured = facts.budget is not None
    heard = [finding for rule, findings in found if not _is_silent(rule, found, is_measured) for finding in findings]
    return tuple(sorted(heard, key=lambda finding: GRAVITY.index(finding.severity)))


def _is_silent(rule: Rule, found: list[tuple[Rule, list[Finding]]], is_measured: bool) -> bool:
    """Whether a rule that is not silent itself found something that explains more; infos explain nothing."""
    codes = rule.silent_beside if is_measured else (*rule.silent_beside, *rule.explained_by)
    return any(
        other.code in codes
        and other.silences
        and any(finding.severity != "info" for finding in findings)
        and not _is_silent(other, found, is_measured)
        for other, findings in found
    )
