"""Whether the kept weights or the last ones are better, if the curves do not prove overfitting."""

from dataclasses import asdict

from heldout.diagnosis.evaluation import LastEpoch
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.words import counted


def earlier_ones_serve(facts: Facts) -> list[Finding]:
    """The last weights are not shown to be better than the kept ones."""
    last = facts.last
    return [] if last is None or _are_better(last) else _info(facts, "overfitting", last, "")


def later_ones_are_better(facts: Facts) -> list[Finding]:
    """The training was stopped too early: its last weights are surely better than the kept ones."""
    last = facts.last
    if last is None or not _are_better(last):
        return []
    return _info(facts, "not_converged", last, " Training was stopped too early: more patience would have been better.")


def cost_of(last: LastEpoch) -> str:
    """Whether the last weights are better or worse than the kept ones, and by how much."""
    is_worse = last.loss_interval[0] > 0 or last.accuracy_interval[0] > 0
    is_better = last.loss_interval[1] < 0 or last.accuracy_interval[1] < 0
    if is_worse and is_better:
        compared = "are better in one way and worse in another than"
    elif is_worse or is_better:
        compared = "are worse than" if is_worse else "are better than"
    else:
        compared = "are neither clearly better nor clearly worse than"
    return (
        f"On the same {counted(last.count, f'{last.split} image')}, the weights of epoch {last.epoch} {compared} the "
        f"kept ones of epoch {last.kept_epoch}: {_change('accuracy', -100 * last.accuracy, '.1f', ' points')}, "
        f"{_change('loss', last.loss, '.3g')}."
    )


def _change(name: str, change: float, form: str, unit: str = "") -> str:
    """`accuracy is 3.0 points lower`."""
    size = format(abs(change), form)
    if float(size) == 0:
        return f"{name} is the same"
    return f"{name} is {size}{unit} {'higher' if change > 0 else 'lower'}"


def _are_better(last: LastEpoch) -> bool:
    """A lower loss by worse answers is not better."""
    return last.loss_interval[1] < 0 and last.accuracy_interval[0] <= 0


def _info(facts: Facts, code: str, last: LastEpoch, conclusion: str) -> list[Finding]:
    curves, heldout = facts.curves, facts.curves.heldout
    if heldout is None or curves.onset_epoch is not None:
        return []
    explanation = (
        f"The weights of epoch {last.kept_epoch} were kept, though the {curves.name} does not show overfitting. "
        f"{cost_of(last)}{conclusion}"
    )
    return [Finding(code, "info", explanation, {"noise": heldout.noise, "last_epoch": asdict(last)})]
