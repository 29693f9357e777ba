"""Which finding gives the verdict. docs/explanation/diagnosis.md has the same steps in the same order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.gap.budget import accuracy_of
from heldout.diagnosis.thresholds import MIN_EXPLAINED_OF_VERDICT


@dataclass(frozen=True)
class Step:
    """Chooses a finding, or leaves it to the next step. needs_gap: whether it is skipped without a measured gap."""

    name: str
    choose: Callable[[Facts, Sequence[Finding]], Finding | None]
    needs_gap: bool = True


def other_pixels(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """What an uploaded model needs before it answers at all comes before all that its answers show."""
    return next((one for one in findings if one.code == "preprocessing_mismatch"), None)


def kept_too_early(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """What says that the last weights answer surely more than the kept ones, unless another finding costs more."""
    last = facts.last
    if last is None or last.accuracy_interval[1] >= 0:
        return None
    if any(_surely_explained(one) > -last.accuracy for one in findings):
        return None
    told = [one for one in findings if one.code in ("not_converged", "overconfidence")]
    return next((one for one in told if "last_epoch" in one.evidence), None)


def poor_training(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """A fault of training, where training images are answered badly, unless another finding surely costs more."""
    if facts.knows_training is not False or facts.budget is None:
        return None
    lacking = 1 - accuracy_of(facts.budget.train)
    if any(_surely_explained(one) > lacking for one in findings):
        return None
    return next((one for code in TRAINING_FAULTS for one in findings if one.code == code), None)


def most_accuracy(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """What surely explains most of the accuracy between training and test."""
    explaining = [
        (one.explains.accuracy, one)
        for one in findings
        if one.explains is not None and one.explains.accuracy >= MIN_EXPLAINED_OF_VERDICT and _surely_explained(one) > 0
    ]
    return max(explaining, key=lambda pair: pair[0])[1] if explaining else None


def most_loss(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """What surely explains most of the loss between training and test."""
    explaining = [
        (one.explains.loss, one) for one in findings if one.explains is not None and one.explains.matters_by_loss
    ]
    return max(explaining, key=lambda pair: pair[0])[1] if explaining else None


def most_serious(facts: Facts, findings: Sequence[Finding]) -> Finding | None:
    """The most serious; of equally serious ones the first by the order of the rules, caveats last."""
    serious = [[one for one in findings if one.severity == severity] for severity in ("critical", "warning")]
    for found in serious:
        if found:
            explaining = [one for one in found if one.code not in CAVEATS]
            return (explaining if facts.budget is not None and explaining else found)[0]
    return None


STEPS = (
    Step("other_pixels", other_pixels, needs_gap=False),
    Step("kept_too_early", kept_too_early),
    Step("poor_training", poor_training),
    Step("most_accuracy", most_accuracy),
    Step("most_loss", most_loss),
    Step("most_serious", most_serious, needs_gap=False),
)
# Faults of training itself, the first of them first.
TRAINING_FAULTS = ("diverged", "underfitting", "not_converged")
# What makes figures untrue without explaining a gap, and how. It keeps its severity, and is named beside the verdict.
CAVEATS: Mapping[str, str] = {
    "leakage": "Some images are in two splits, so that results on held-out images can look better than they are.",
    "label_conflicts": "Copies of one image have different labels, so that even a perfect network gets some wrong.",
    "test_too_small": "There are too few test images, in all or of a class: test accuracy is only roughly known.",
    "metric_artefact": "The training accuracy that `fit` prints is lower than the real one: do not compare with it.",
}


def verdict_of(facts: Facts, findings: Sequence[Finding]) -> tuple[Finding | None, str]:
    """The finding that gives the verdict, and the step that chose it; no finding where all are infos."""
    serious = [one for one in findings if one.severity != "info"]
    for step in STEPS:
        if step.needs_gap and facts.budget is None:
            continue
        if (chosen := step.choose(facts, serious)) is not None:
            return chosen, step.name
    return None, ""


def caveats_of(findings: Sequence[Finding], verdict: Finding | None) -> tuple[str, ...]:
    """The codes of what makes figures untrue, without the verdict's own."""
    serious = {one.code for one in findings if one.severity != "info"}
    return tuple(code for code in CAVEATS if code in serious and (verdict is None or verdict.code != code))


def _surely_explained(finding: Finding) -> float:
    """Accuracy that a finding explains at least."""
    explains = finding.explains
    return 0.0 if explains is None or explains.interval is None else explains.interval[0]
