"""Judges whether the kept weights of an earlier epoch were the right ones: stopped in time, or worse than the last."""

from dataclasses import asdict
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import LastEpoch
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.thresholds import MIN_ACCURACY_COST
from heldout.words import pluralize
from heldout.words.courses import describe_best_and_end


def find_stopped_in_time(facts: Facts) -> list[Finding]:
    """Report that earlier weights were kept and later ones are not shown to be better."""
    curves, last, heldout = facts.curves, facts.last, facts.curves.heldout
    if heldout is None or not were_kept_in_time(facts):
        return []
    kept = find_kept_epoch(facts)
    later_are_worse = curves.onset_epoch is not None or (last is not None and _are_worse(last))
    in_time = "The training was stopped in time: the" if later_are_worse else "The"
    explanation = f"{in_time} weights of epoch {kept} were kept. {describe_best_and_end(curves, heldout)}."
    return [_make_finding(facts, "overfitting", "info", explanation + (f" {describe_cost(last)}" if last else ""))]


def find_kept_too_early(facts: Facts) -> list[Finding]:
    """Report that the last weights are clearly better than the kept ones."""
    last = facts.last
    if last is None or not _are_better(last):
        return []
    explanation = (
        f"{explain_kept_is_worse(last)} Train again, and keep the last weights or give early stopping more patience."
    )
    return [_make_finding(facts, "not_converged", "warning", explanation)]


def explain_kept_is_worse(last: LastEpoch) -> str:
    return f"The kept epoch ({last.kept_epoch}) is worse than the last ({last.epoch}). {describe_cost(last)}"


def explain_kept_answers_worse(last: LastEpoch) -> str:
    return (
        f"The kept epoch ({last.kept_epoch}) is less accurate than the last ({last.epoch}). On the same "
        f"{pluralize(last.count, f'{last.split} image')}, the weights of epoch {last.epoch} have a better accuracy "
        f"({-100 * last.accuracy:.1f} points higher) and a worse loss ({last.loss:.3g} higher)."
    )


def were_kept_in_time(facts: Facts) -> bool:
    """Whether weights from before a rise were kept, and later ones are not better."""
    last = facts.last
    later_are_better = last is not None and (_are_better(last) or is_only_loss_better(last))
    return are_from_before_the_rise(facts) and not later_are_better


def are_from_before_the_rise(facts: Facts) -> bool:
    """Whether the kept weights date from when the loss was near its best, so a later rise does not affect them."""
    curves, heldout, kept = facts.curves, facts.curves.heldout, find_kept_epoch(facts)
    if kept is None or heldout is None or kept not in curves.epoch_numbers[: curves.epochs]:
        return False
    place = curves.epoch_numbers.index(kept)
    return min(heldout.values[place], heldout.levels[place]) - heldout.lowest < curves.max_mild_rise


def find_kept_epoch(facts: Facts) -> int | None:
    """The epoch whose weights were kept; None if it was the last one or is unknown."""
    if facts.last is not None:
        return facts.last.kept_epoch
    gap = facts.gap
    return gap.kept_epoch if gap is not None and gap.kept_epoch < gap.epochs else None


def is_only_loss_better(last: LastEpoch) -> bool:
    """Whether the kept weights clearly have the lower loss, but clearly answer fewer images correctly than the last."""
    return last.loss_interval[0] > 0 and _answer_more(last)


def _answer_more(last: LastEpoch) -> bool:
    """Whether the last weights clearly answer more images correctly than the kept ones."""
    return last.accuracy_interval[1] < 0 and -last.accuracy >= MIN_ACCURACY_COST


def _are_better(last: LastEpoch) -> bool:
    """Whether the last weights are clearly better in loss or accuracy, and not clearly worse in the other."""
    lower_loss = last.loss_interval[1] < 0 and last.accuracy_interval[0] <= 0
    return lower_loss or (_answer_more(last) and last.loss_interval[0] <= 0)


def _are_worse(last: LastEpoch) -> bool:
    return last.loss_interval[0] > 0 or last.accuracy_interval[0] > 0


def describe_cost(last: LastEpoch) -> str:
    """Say whether the last weights are better or worse than the kept ones, and by how much."""
    is_worse = _are_worse(last)
    is_better = last.loss_interval[1] < 0 or last.accuracy_interval[1] < 0
    if is_worse and is_better:
        compared = "are better in one way and worse in another than"
    elif is_worse or is_better:
        compared = "are worse than" if is_worse else "are better than"
    else:
        compared = "are neither clearly better nor clearly worse than"
    return (
        f"On the same {pluralize(last.count, f'{last.split} image')}, the weights of epoch {last.epoch} {compared} "
        f"those of epoch {last.kept_epoch}: {_describe_change('accuracy', -100 * last.accuracy, '.1f', ' points')}, "
        f"{_describe_change('loss', last.loss, '.3g')}."
    )


def _describe_change(name: str, change: float, form: str, unit: str = "") -> str:
    """`accuracy is 3.0 points lower`."""
    size = format(abs(change), form)
    if float(size) == 0:
        return f"{name} is the same"
    return f"{name} is {size}{unit} {'higher' if change > 0 else 'lower'}"


def _make_finding(facts: Facts, code: str, severity: Severity, explanation: str) -> Finding:
    heldout = facts.curves.heldout
    evidence: dict[str, Any] = {"kept_epoch": find_kept_epoch(facts)}
    if heldout is not None:
        evidence["noise"] = heldout.noise
    if facts.last is not None:
        evidence["last_epoch"] = asdict(facts.last)
    return Finding(
        code,
        severity,
        explanation,
        evidence,
        remedies.suggest_more_patience(facts.base) if code == "not_converged" else (),
    )
