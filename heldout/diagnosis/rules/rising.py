"""Findings about a held-out loss that rises again, and about the weights that were kept then."""

from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity, SuggestedRemedy
from heldout.diagnosis.loss_trend import LossTrend, choose_patience
from heldout.stored.evaluation import LastEpochScores
from heldout.stored.gap import Calibration
from heldout.words import percent, pluralize
from heldout.words.curves import (
    describe_accuracy,
    describe_best_and_end,
    describe_stopping_at_best,
    describe_training,
    explain_too_little_matters,
)
from heldout.words.data_and_models import describe_calibration


def find_overfitting(facts: Facts) -> Finding | None:
    """Report overfitting, unless accuracy held (overconfidence) or weights from before the rise were kept."""
    curves, heldout, training, last = facts.curves, facts.curves.heldout, facts.curves.training, facts.last
    explanation = explain_overfitting(curves)
    if heldout is None or training is None or curves.best_epoch is None or explanation is None:
        return None
    if are_from_before_the_rise(facts) or (last is not None and is_only_loss_better(last)):
        return None
    evidence = _collect_evidence(facts) | {
        "training_at_best": curves.training_at_best,
        "training_at_end": training.last,
    }
    if last is not None:
        explanation += f" {describe_cost(last)}"
    severity = _choose_severity(curves)
    advised = () if severity == "info" else _suggest_against_overfitting(facts, heldout, curves.best_epoch)
    return Finding("overfitting", severity, explanation, evidence, advised)


def _suggest_against_overfitting(facts: Facts, heldout: LossTrend, best_epoch: int) -> tuple[SuggestedRemedy, ...]:
    """Suggest early stopping, and regularization if the training images are known: it makes all learning harder."""
    curves = facts.curves
    keep = f"Keep the weights of the best epoch ({best_epoch}), and stop once validation no longer improves."
    reason = f"{keep} {describe_stopping_at_best(curves, heldout)}"
    patience = choose_patience(heldout.values, heldout.best)
    keep_best = remedies.keep_best(facts.base, "validation_loss", reason, patience)
    return (
        keep_best
        if facts.knows_training is False
        else (*keep_best, *remedies.suggest(facts.base, *remedies.REGULARISATION))
    )


def _choose_severity(curves: Curves) -> Severity:
    heldout = curves.heldout
    if heldout is None or curves.rises_mildly:
        return "info"
    # A loss that may include an offset cannot be judged by its height.
    rise = heldout.rise / heldout.lowest if curves.is_measured and heldout.lowest > 0 else 0.0
    is_critical = (
        rise > thresholds.MAX_RISE_OF_WARNING or heldout.rise > thresholds.MAX_LOST_DESCENT_OF_WARNING * heldout.descent
    )
    return "critical" if is_critical else "warning"


def explain_overfitting(curves: Curves) -> str | None:
    """Say what the curves show, or return None if that is not overfitting. The live guard uses the same text."""
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or curves.onset_epoch is None or curves.is_overconfident:
        return None
    seen = f"{describe_best_and_end(curves, heldout)}. From epoch {curves.onset_epoch} on, it stays higher"
    if curves.rises_mildly:
        return f"{seen}. {explain_too_little_matters(curves)}"
    meanwhile = describe_training(curves, training)
    if curves.accuracy is not None:
        meanwhile += f", and {describe_accuracy(curves.accuracy)}"
    return (
        f"{seen}, while {meanwhile}. After epoch {curves.best_epoch}, the network only learned what holds for its "
        f"training images. Keep the weights of epoch {curves.best_epoch}, or make memorizing harder."
    )


def find_overconfidence(facts: Facts) -> Finding | None:
    """Report what the curves show, or weights kept for their loss that answer clearly worse than the last ones."""
    curves, last = facts.curves, facts.last
    explanation, is_mild = explain_overconfidence(curves), curves.rises_mildly
    if last is not None and is_only_loss_better(last):
        explanation, is_mild = f"{explain_kept_answers_worse(last)} {_WHY} {_NEXT}", False
    elif explanation is None or are_from_before_the_rise(facts):
        return None
    calibration, accuracy, evidence = facts.calibration, curves.accuracy, _collect_evidence(facts)
    if accuracy is not None:
        evidence |= {
            "best_epoch_by_accuracy": curves.epoch_numbers[accuracy.best_by_accuracy],
            "accuracy_at_best": accuracy.values[accuracy.best],
            "accuracy_at_end": accuracy.values[-1],
        }
    if calibration is not None:
        evidence["calibration"] = calibration.model_dump()
    if is_mild:
        return Finding("overconfidence", "info", explanation, evidence)
    if calibration is not None:
        calibrated = describe_calibration(
            calibration.split, calibration.temperature, calibration.error_before, calibration.error_after
        )
        explanation = f"{explanation} {calibrated}"
    advised = _suggest_against_overconfidence(facts, calibration)
    return Finding("overconfidence", "warning", explanation, evidence, advised)


def explain_overconfidence(curves: Curves) -> str | None:
    """Say what the curves show, or return None if that is not overconfidence. The live guard uses the same text."""
    heldout, accuracy = curves.heldout, curves.accuracy
    if heldout is None or accuracy is None or not curves.is_overconfident:
        return None
    seen = f"{describe_best_and_end(curves, heldout)}, but {describe_accuracy(accuracy)}"
    if curves.rises_mildly:
        return f"{seen}. {explain_too_little_matters(curves)}"
    answers = "better than" if accuracy.rose and accuracy.values[-1] > accuracy.values[accuracy.best] else "as well as"
    return f"{seen}: the network answers {answers} before. {_WHY} {describe_stopping_at_best(curves, heldout)} {_NEXT}"


_WHY = "The loss rises because the network becomes more and more sure of its answers, including the wrong ones."
_NEXT = "Keep the most accurate weights, and do not rely on the network's probabilities until they are calibrated."


def _suggest_against_overconfidence(facts: Facts, calibration: Calibration | None) -> tuple[SuggestedRemedy, ...]:
    curves, accuracy = facts.curves, facts.curves.accuracy
    which, patience = "", 0
    if accuracy is not None:
        best = accuracy.best_by_accuracy
        which = f" (here epoch {curves.epoch_numbers[best]}, with {percent(accuracy.values[best])})"
        patience = choose_patience([-value for value in accuracy.values], best)
    reason = f"Keep the weights of the epoch with the best validation accuracy{which}, not those with the lowest loss."
    return (
        *remedies.make_less_sure(facts.base, calibration),
        *remedies.keep_best(facts.base, "validation_accuracy", reason, patience),
    )


def _collect_evidence(facts: Facts) -> dict[str, Any]:
    """What the curves, and a comparison with the last epoch, say about a rise."""
    curves, heldout, accuracy = facts.curves, facts.curves.heldout, facts.curves.accuracy
    evidence: dict[str, Any] = {"epochs": curves.epochs}
    if heldout is not None:
        evidence |= {
            "best_epoch": curves.best_epoch,
            "onset_epoch": curves.onset_epoch,
            "best": heldout.values[heldout.best],
            "last": heldout.values[-1],
            "rise": heldout.rise,
            "noise": heldout.noise,
        }
    if accuracy is not None:
        evidence |= {
            "accuracy_change": accuracy.change,
            "accuracy_change_error": accuracy.error,
        }
    if facts.last is not None:
        evidence["last_epoch"] = facts.last.flatten()
    return evidence


def find_stopped_in_time(facts: Facts) -> Finding | None:
    """Report that weights from before a rise were kept, and later ones are not shown to be better."""
    curves, last, heldout = facts.curves, facts.last, facts.curves.heldout
    later_are_better = last is not None and (_are_better(last) or is_only_loss_better(last))
    if heldout is None or later_are_better or not are_from_before_the_rise(facts):
        return None
    kept = find_kept_epoch(facts)
    later_are_worse = curves.onset_epoch is not None or (last is not None and _are_worse(last))
    in_time = "The training was stopped in time: the" if later_are_worse else "The"
    explanation = f"{in_time} weights of epoch {kept} were kept. {describe_best_and_end(curves, heldout)}."
    return _make_kept_finding(facts, "overfitting", "info", explanation + (f" {describe_cost(last)}" if last else ""))


def find_kept_too_early(facts: Facts) -> Finding | None:
    """Report that the last weights are clearly better than the kept ones."""
    last = facts.last
    if last is None or not _are_better(last):
        return None
    explanation = (
        f"The kept epoch ({last.kept_epoch}) is worse than the last ({last.epoch}). {describe_cost(last)} Train again, "
        "and keep the last weights or give early stopping more patience."
    )
    return _make_kept_finding(facts, "not_converged", "warning", explanation)


def explain_kept_answers_worse(last: LastEpochScores) -> str:
    return (
        f"The kept epoch ({last.kept_epoch}) is less accurate than the last ({last.epoch}). On the same "
        f"{pluralize(last.count, f'{last.split} image')}, the weights of epoch {last.epoch} have a better accuracy "
        f"({-100 * last.accuracy.difference:.1f} points higher) and a worse loss ({last.loss.difference:.3g} higher)."
    )


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


def is_only_loss_better(last: LastEpochScores) -> bool:
    """Whether the kept weights clearly have the lower loss, but clearly answer fewer images correctly than the last."""
    return last.loss.interval[0] > 0 and _answer_more(last)


def _answer_more(last: LastEpochScores) -> bool:
    """Whether the last weights clearly answer more images correctly than the kept ones."""
    return last.accuracy.interval[1] < 0 and -last.accuracy.difference >= thresholds.MIN_ACCURACY_COST


def _are_better(last: LastEpochScores) -> bool:
    """Whether the last weights are clearly better in loss or accuracy, and not clearly worse in the other."""
    lower_loss = last.loss.interval[1] < 0 and last.accuracy.interval[0] <= 0
    return lower_loss or (_answer_more(last) and last.loss.interval[0] <= 0)


def _are_worse(last: LastEpochScores) -> bool:
    return last.loss.interval[0] > 0 or last.accuracy.interval[0] > 0


def describe_cost(last: LastEpochScores) -> str:
    """Say whether the last weights are better or worse than the kept ones, and by how much."""
    is_worse = _are_worse(last)
    is_better = last.loss.interval[1] < 0 or last.accuracy.interval[1] < 0
    if is_worse and is_better:
        compared = "are better in one way and worse in another than"
    elif is_worse or is_better:
        compared = "are worse than" if is_worse else "are better than"
    else:
        compared = "are neither clearly better nor clearly worse than"
    points = -100 * last.accuracy.difference
    return (
        f"On the same {pluralize(last.count, f'{last.split} image')}, the weights of epoch {last.epoch} {compared} "
        f"those of epoch {last.kept_epoch}: {_describe_change('accuracy', points, '.1f', ' points')}, "
        f"{_describe_change('loss', last.loss.difference, '.3g')}."
    )


def _describe_change(name: str, change: float, form: str, unit: str = "") -> str:
    """`accuracy is 3.0 points lower`."""
    size = format(abs(change), form)
    if float(size) == 0:
        return f"{name} is the same"
    return f"{name} is {size}{unit} {'higher' if change > 0 else 'lower'}"


def _make_kept_finding(facts: Facts, code: str, severity: Severity, explanation: str) -> Finding:
    heldout = facts.curves.heldout
    evidence: dict[str, Any] = {"kept_epoch": find_kept_epoch(facts)}
    if heldout is not None:
        evidence["noise"] = heldout.noise
    if facts.last is not None:
        evidence["last_epoch"] = facts.last.flatten()
    return Finding(
        code,
        severity,
        explanation,
        evidence,
        remedies.suggest(facts.base, "more_patience") if code == "not_converged" else (),
    )


def find_reason_to_warn(curves: Curves) -> str | None:
    """The diagnosis' explanation of a rising loss, or None if the loss does not rise enough to matter."""
    return None if curves.rises_mildly else explain_overfitting(curves) or explain_overconfidence(curves)


def find_reason_to_stop(curves: Curves) -> str | None:
    """Say what the curves show, or return None if training should continue.

    This is a different question from overfitting. Training stops if validation's level has exceeded its lowest for some
    epochs, by more than noise and by more than trainings usually recover from, while the training loss kept falling. If
    accuracy has clearly risen since, the later weights are better in one way, and training continues.
    """
    heldout, training = curves.heldout, curves.training
    if heldout is None or training is None or len(training.values) < thresholds.MIN_EPOCHS:
        return None
    if curves.accuracy is not None and curves.accuracy.rose:
        return None
    epochs_since = curves.epochs - 1 - heldout.best
    if epochs_since < thresholds.GUARD_PATIENCE_EPOCHS:
        return None
    # On an initial plateau both curves move by only a tiny part of the loss, so compare with the loss itself too.
    least = max(thresholds.GUARD_MIN_RISE * max(heldout.scale, heldout.lowest), curves.own_noise)
    at_best = curves.training_at_best
    if heldout.rise <= least or at_best - training.last <= thresholds.MIN_TRAINING_FALL * at_best:
        return None
    return (
        f"{describe_best_and_end(curves, heldout)}, {pluralize(epochs_since, 'epoch')} later, while "
        f"{describe_training(curves, training)}. The {curves.name} is unlikely to get lower again. "
        f"{describe_stopping_at_best(curves, heldout)}"
    )
