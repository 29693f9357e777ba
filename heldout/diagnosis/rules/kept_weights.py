"""What keeping earlier weights than the last was good for, where the curves do not prove overfitting."""

from dataclasses import asdict

from heldout.diagnosis.evaluation import LastEpoch
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, counted


def earlier_ones_serve(facts: Facts) -> list[Finding]:
    """The last weights are not shown to be better than the kept ones."""
    last = facts.last
    return [] if last is None or _are_better(last) else _info(facts, "overfitting", last, "")


def later_ones_are_better(facts: Facts) -> list[Finding]:
    """The training was stopped too early: its last weights are surely better than the kept ones."""
    last = facts.last
    if last is None or not _are_better(last):
        return []
    return _info(
        facts, "not_converged", last, " So the later ones were better: more patience would have served better."
    )


def cost_of(last: LastEpoch) -> str:
    """How the last weights answer, beside the kept ones."""
    # Zero is added since nothing is lost by minus nothing.
    points, high, low = (-100 * value + 0.0 for value in (last.accuracy, *last.accuracy_interval))
    loss_low, loss_high = last.loss_interval
    return (
        f"On the same {counted(last.count, 'image')} of {last.split} the weights of epoch {last.epoch} differ from the "
        f"kept ones, of epoch {last.kept_epoch}, by {points:+.1f} points of accuracy ({low:+.1f} to {high:+.1f}; "
        f"McNemar's p {last.p:.2g}) and {last.loss:+.3g} of loss ({loss_low:+.3g} to {loss_high:+.3g})."
    )


def _are_better(last: LastEpoch) -> bool:
    """A lower loss by worse answers is not better."""
    return last.loss_interval[1] < 0 and last.accuracy_interval[0] <= 0


def _info(facts: Facts, code: str, last: LastEpoch, conclusion: str) -> list[Finding]:
    curves, heldout = facts.curves, facts.curves.heldout
    if heldout is None or curves.onset_epoch is not None:
        return []
    explanation = (
        f"The weights of epoch {last.kept_epoch} were kept, though the {curves.name} did not turn up by more than its "
        f"noise ({heldout.noise:.2g}). {cost_of(last)}{conclusion}"
    )
    return [Finding(code, "info", explanation, {"noise": heldout.noise, "last_epoch": asdict(last)})]
