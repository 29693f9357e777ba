"""The rules, ordered from closest to the data to closest to the figures. `causes.py` decides what to fix first.

Without a measured gap, that is the most serious finding; among equally serious ones, the first in this order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules import (
    classes,
    data,
    faults,
    groups,
    inside,
    label_order,
    labels,
    learning,
    quality,
    rising,
)
from heldout.verdicts import FAULTS, require_every_kind


@dataclass(frozen=True)
class Rule:
    """Finds what is reported under a code.

    silent_beside: codes of findings that explain the same figures better and silence this rule.
    explained_by: further such codes if no measured gap says how much each finding explains.
    silences: whether the findings of this rule may silence other rules.
    within: codes, of which a finding must be there; empty if none needs to.
    """

    code: str
    find: Callable[[Facts], Finding | Sequence[Finding] | None]
    silent_beside: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    silences: bool = True
    within: tuple[str, ...] = ()


RULES = (
    Rule("preprocessing_mismatch", data.find_other_pixels),
    Rule("leakage", data.report_audit("leakage")),
    Rule("leakage", data.find_leakage),
    Rule("split_shift", quality.report_shift),
    Rule("split_shift", data.find_shift_in_accuracy, silent_beside=("scale_mismatch", "label_order_mismatch")),
    Rule("split_shift", data.find_shift_in_validation_pixels),
    Rule("split_shift", data.find_shift_in_measured_gap),
    Rule("scale_mismatch", data.find_scale_mismatch),
    Rule("label_order_mismatch", label_order.find_label_order),
    Rule("label_conflicts", data.report_audit("label_conflicts")),
    Rule("label_noise", labels.find_label_noise, silent_beside=("diverged",)),
    # More epochs may help a network with wrong labels too, so it silences nothing.
    Rule("label_noise", labels.find_contradicted_labels, silent_beside=("diverged",), silences=False),
    # Labels in another order are wrong labels too: one fault, reported once.
    Rule("label_noise", labels.find_label_noise_beside_others, silent_beside=("label_order_mismatch",), silences=False),
    Rule("memorised_noise", labels.find_memorized_noise),
    Rule("class_imbalance", data.report_audit("class_imbalance")),
    Rule("class_imbalance", classes.find_class_imbalance),
    Rule("collapsed_class", classes.find_collapsed_in_validation, silent_beside=("evaluation_lags",)),
    Rule("collapsed_class", classes.find_collapsed_in_test, silent_beside=("split_shift", "evaluation_lags")),
    Rule("collapsed_class", classes.find_rare_in_test, silent_beside=("label_order_mismatch", "scale_mismatch")),
    Rule("worst_group", groups.find_worst_group),
    Rule("shortcut_suspected", groups.find_shortcut),
    Rule("evaluation_lags", inside.find_lagging_averages),
    Rule("diverged", learning.find_diverged, silent_beside=("evaluation_lags",)),
    # Memorizing noise is overfitting too, but it has a different cure.
    Rule("overfitting", rising.find_overfitting, silent_beside=("diverged", "memorised_noise", "evaluation_lags")),
    Rule("overfitting", rising.find_stopped_in_time, silent_beside=("diverged",)),
    Rule(
        "overconfidence", rising.find_overconfidence, silent_beside=("diverged", "memorised_noise", "evaluation_lags")
    ),
    Rule(
        "underfitting",
        learning.find_underfitting,
        silent_beside=("diverged", "label_noise", "not_converged", "evaluation_lags"),
    ),
    Rule("not_converged", rising.find_kept_too_early, silent_beside=("diverged",)),
    Rule("not_converged", learning.find_both_losses_falling, silent_beside=("diverged",)),
    Rule("not_converged", learning.find_training_unknown_yet, silent_beside=("diverged", "label_noise")),
    *(Rule(code, faults.find_fault(code), within=within, silences=False) for code, within in FAULTS.items()),
    Rule("too_little_data", learning.find_too_little_data, ("diverged",), explained_by=learning.EXPLAINED_BY),
    Rule("test_too_small", data.find_few_test_images),
    Rule("metric_artefact", learning.find_metric_artifact),
)
require_every_kind({rule.code for rule in RULES}, "rules")
GRAVITY = ("critical", "warning", "info")


def collect_findings(facts: Facts) -> tuple[Finding, ...]:
    """All findings, the most serious first, then in the order of the rules."""
    found = [(rule, list_found(rule.find(facts))) for rule in RULES]
    is_measured = facts.budget is not None
    heard = [finding for rule, findings in found if not _is_silent(rule, found, is_measured) for finding in findings]
    return tuple(sorted(heard, key=lambda finding: GRAVITY.index(finding.severity)))


def list_found(found: Finding | Sequence[Finding] | None) -> Sequence[Finding]:
    """List what a rule returned: a finding, several, or none."""
    return [found] if isinstance(found, Finding) else found or ()


def _is_silent(rule: Rule, found: Sequence[tuple[Rule, Sequence[Finding]]], is_measured: bool) -> bool:
    """Whether something was found that explains more, or nothing that it belongs to."""
    codes = rule.silent_beside if is_measured else (*rule.silent_beside, *rule.explained_by)
    heard = [
        other for other, findings in found if _is_serious(other, findings, (*codes, *rule.within), found, is_measured)
    ]
    is_alone = bool(rule.within) and not any(other.code in rule.within for other in heard)
    return is_alone or any(other.silences and other.code in codes for other in heard)


def _is_serious(
    rule: Rule,
    findings: Sequence[Finding],
    codes: Sequence[str],
    found: Sequence[tuple[Rule, Sequence[Finding]]],
    is_measured: bool,
) -> bool:
    """Whether a rule of one of the codes found something and is not silent itself.

    Infos, and findings that may be chance, explain nothing.
    """
    serious = [finding for finding in findings if finding.severity != "info" and not finding.may_be_chance]
    return rule.code in codes and bool(serious) and not _is_silent(rule, found, is_measured)
