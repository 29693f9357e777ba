"""What the curves say: diverged, overfitted, still learning, unable to learn, or only badly averaged."""

from dataclasses import asdict, dataclass
from math import log
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.curves import (
    CLEAR,
    RISE,
    Turn,
    falls_at_end,
    finite,
    level_at_end,
    noise_of,
    onset_of,
    smoothed,
    stays_up,
    turn_of,
)
from heldout.diagnosis.evaluation import Evaluation, LastEpoch, skill_of
from heldout.diagnosis.findings import Finding, Severity, counted
from heldout.diagnosis.history import Curve, History
from heldout.diagnosis.remedies import Spec
from heldout.intervals import newcombe_interval

# Fewer points of a curve than this say nothing of where it turns.
FEWEST = 4
# Skill on the training images below which they are not known; epochs before which that may be for want of them.
UNLEARNED, SETTLING = 0.7, 8
LARGE_COST = 0.1
# Of the way that a loss has come down: where less than that is left, it is as good as nothing.
SPENT = 0.01
# Of the training loss at the best epoch: a fall since that is less is none.
STANDING = 0.01
# While it trains: epochs after the best one, and the share of the loss by which the level is above its lowest.
WAIT, BY = 6, 0.05
# Points of accuracy: of `fit` below what was measured; of training above validation.
ARTEFACT, KNOWN_BETTER = 0.05, 0.05
# A loss above this many times that of guessing; a share of the first loss that must have been learned for it to be
# lost; a share of its whole way that a loss has gone back up.
RAN_AWAY, LEARNED, LOST = 1.1, 0.1, 0.5


@dataclass(frozen=True)
class Curves:
    """What is known of a training when its curves are judged. Loss-like: smaller is better, whatever was recorded."""

    history: History
    heldout: list[float]
    training: list[float]
    turn: Turn | None
    onset: int | None
    of_loss: bool  # else of the share of wrong answers

    @property
    def epochs(self) -> int:
        return len(self.heldout)

    def number(self, place: int) -> int:
        """Of the epoch at a position of the curves, counted from 1."""
        return self.history.number(place)

    @property
    def name(self) -> str:
        return "validation loss" if self.of_loss else "share of wrong answers in validation"


def curves_of(history: History, evaluation: Evaluation | None = None) -> Curves:
    """The held-out curve that is judged and the training curve beside it: losses where both are there.

    Whether it is overfitting is told by the curves, or by the last weights beside the kept ones on the same images.
    """
    of_loss = bool(history.validation_loss and history.training_loss)
    heldout = finite(history.validation_loss if of_loss else _wrong(history.validation_accuracy))
    training = finite(history.training_loss if of_loss else _wrong(history.training_accuracy))
    turn = turn_of(heldout, has_zero=history.is_measured) if heldout else None
    is_overfit = turn is not None and (
        _is_overfit(turn, heldout, training, history) or _is_measured_overfit(evaluation, training)
    )
    onset = onset_of(heldout, turn) if turn is not None and is_overfit else None
    return Curves(history, heldout, training, turn, onset, of_loss)


def diverged(curves: Curves, evaluation: Evaluation | None, spec: Spec | None) -> Finding | None:
    """A loss that is not finite, ends above what guessing costs or above where it began, or lost what it had gained."""
    history = curves.history
    for name in ("fit_loss", "train_loss", "validation_loss"):
        curve = getattr(history, name)
        if None in curve:
            epoch = history.number(curve.index(None))
            return Finding(
                "diverged",
                "critical",
                f"The {name.replace('_', ' ')} of epoch {epoch} is not finite: the weights have run away.",
                {"curve": name, "epoch": epoch},
                (remedies.lower_learning_rate(spec),),
            )
    training = curves.training
    if len(training) < FEWEST or not curves.of_loss:
        return None
    turn = turn_of(training)
    end, start = turn.end, training[0]
    classes = len(evaluation.classes) if evaluation and history.is_measured else 0
    if classes > 1 and end > RAN_AWAY * log(classes):
        said = f"above the {log(classes):.4g} that guessing among {classes} classes costs: it runs away"
    elif classes < 2 and turn.is_clear(end - start, RISE):
        said = f"above the {start:.4g} of the first epoch: it runs away"
    elif turn.way > LEARNED * abs(start) and turn.is_clear(turn.rise, LOST):
        said = f"and was {training[turn.best]:.4g} in epoch {curves.number(turn.best)}: what was learned is lost again"
    else:
        return None
    return Finding(
        "diverged",
        "critical",
        f"The training loss ends at {end:.4g}, {said}.",
        {"curve": "training", "first": start, "lowest": training[turn.best], "last": end},
        (remedies.lower_learning_rate(spec),),
    )


def overfitting(curves: Curves, evaluation: Evaluation | None, spec: Spec | None) -> Finding | None:
    """The held-out loss turned up and stays up while the training loss goes on falling."""
    turn = curves.turn
    if turn is None or curves.onset is None:
        return None
    best_epoch, onset_epoch = curves.number(turn.best), curves.number(curves.onset)
    # Of a loss that may hold an offset its height says nothing.
    cost = turn.rise / turn.floor if curves.history.is_measured and turn.floor > 0 else 0.0
    last, best = curves.heldout[-1], curves.heldout[turn.best]
    trained, trains = _at(curves.training, turn.best), level_at_end(curves.training)
    evidence: dict[str, Any] = {
        "best_epoch": best_epoch,
        "onset_epoch": onset_epoch,
        "epochs": curves.epochs,
        "best": best,
        "last": last,
        "rise": turn.rise,
        "noise": turn.noise,
        "training_at_best": trained,
        "training_at_end": trains,
    }
    bar = f"its noise ({turn.noise:.2g})" if turn.noise < turn.rise / 2 else f"half of the rise ({turn.rise / 2:.2g})"
    explanation = (
        f"The {curves.name} was lowest in epoch {best_epoch} ({best:.4g}), stays above that by more than {bar} "
        f"from epoch {onset_epoch} on, and ends at {last:.4g}, while the training figure went on from {trained:.4g} to "
        f"{trains:.4g}. What is learned after epoch {best_epoch} holds for the training images only."
    )
    if evaluation is not None and evaluation.last is not None:
        evidence["last_epoch"] = asdict(evaluation.last)
        explanation += f" {_cost_of(evaluation.last)}"
    severity: Severity = "critical" if cost > LARGE_COST or turn.rise > turn.way / 4 else "warning"
    return Finding("overfitting", severity, explanation, evidence, remedies.against_overfitting(spec, best_epoch))


def kept_earlier(curves: Curves, evaluation: Evaluation | None) -> Finding | None:
    """What keeping earlier weights than the last was good for, where the curves do not prove overfitting."""
    last = evaluation.last if evaluation else None
    if last is None or curves.turn is None or curves.onset is not None:
        return None
    explanation = (
        f"The weights of epoch {last.kept_epoch} were kept, though the {curves.name} did not turn up by more than its "
        f"noise ({curves.turn.noise:.2g}). {_cost_of(last)}"
    )
    code = "overfitting"
    if last.loss_interval[1] < 0 and last.accuracy_interval[0] <= 0:
        code = "not_converged"
        explanation += " So the later ones were better: more patience would have served better."
    return Finding(code, "info", explanation, {"noise": curves.turn.noise, "last_epoch": asdict(last)})


def _cost_of(last: LastEpoch) -> str:
    # Zero is added since nothing is lost by minus nothing.
    points, high, low = (-100 * value + 0.0 for value in (last.accuracy, *last.accuracy_interval))
    loss_low, loss_high = last.loss_interval
    return (
        f"On the same {counted(last.count, 'image')} of {last.split} the weights of epoch {last.epoch} differ from the "
        f"kept ones, of epoch {last.kept_epoch}, by {points:+.1f} points of accuracy ({low:+.1f} to {high:+.1f}; "
        f"McNemar's p {last.p:.2g}) and {last.loss:+.3g} of loss ({loss_low:+.3g} to {loss_high:+.3g})."
    )


def has_turned(curves: Curves) -> str | None:
    """Why a training that still runs should end here: a lower loss is not to be expected any more.

    That is another question than whether it is overfitting. For some epochs the held-out level has been above its
    lowest, by more than its noise and by so much that few trainings come back, while the training loss went on falling.
    """
    turn = curves.turn
    if turn is None or len(curves.training) < FEWEST or curves.epochs - 1 - turn.best < WAIT:
        return None
    trained, trains = _at(curves.training, turn.best), level_at_end(curves.training)
    # On a plateau, where nothing has come down yet, both move by next to nothing of the loss.
    least = max(BY * max(turn.unit, turn.floor), noise_of(curves.heldout, curves.training))
    if turn.rise <= least or trained - trains <= STANDING * trained:
        return None
    return (
        f"The {curves.name} was lowest in epoch {curves.number(turn.best)} ({curves.heldout[turn.best]:.4g}) and has "
        f"been above that for {curves.epochs - 1 - turn.best} epochs ({curves.heldout[-1]:.4g} now), while the "
        f"training figure went on from {trained:.4g} to {trains:.4g}."
    )


def not_converged(curves: Curves, spec: Spec | None) -> Finding | None:
    """Both losses are still falling at the end."""
    if curves.turn is None:
        return None
    falls, fell = falls_at_end(curves.heldout, curves.turn)
    if not (falls and _falls(curves)[0]):
        return None
    return _ended_early(
        curves,
        spec,
        f"The {curves.name} still fell by {fell:.3g} over the last third of {curves.epochs} epochs, more than its "
        f"noise ({curves.turn.noise:.2g}), and the training figure with it",
        {"fell": fell, "noise": curves.turn.noise},
        still_falls=True,
    )


def knows_little(curves: Curves, evaluation: Evaluation | None, spec: Spec | None) -> Finding | None:
    """Not even the training images are known: underfitting if training has settled, else it ended too early."""
    train = evaluation.get("train") if evaluation else None
    validation = evaluation.get("validation") if evaluation else None
    if evaluation is None or train is None or validation is None or len(evaluation.classes) < 2:
        return None
    classes = len(evaluation.classes)
    low, high = newcombe_interval(train.counts, validation.counts)
    if skill_of(train.accuracy, 1 / classes) >= UNLEARNED or low > KNOWN_BETTER:
        return None  # what knows the training images much better than others does not lack capacity
    falls, fell = _falls(curves)
    if falls or curves.epochs < SETTLING:
        if curves.onset is not None:
            return None
        return _ended_early(
            curves,
            spec,
            f"The training accuracy is {train.accuracy:.3f} only, "
            + (
                f"and the training figure still fell by {fell:.3g} over the last third of {curves.epochs} epochs"
                if falls
                else f"after {counted(curves.epochs, 'epoch')}"
            ),
            {"training_fell": fell, "train_accuracy": train.accuracy},
            still_falls=falls,
        )
    return Finding(
        "underfitting",
        "warning",
        f"Even on the training images the accuracy is {train.accuracy:.3f}, and {validation.accuracy:.3f} on "
        "validation: the network has not learned what the pictures show, on any split.",
        {
            "train_accuracy": train.accuracy,
            "validation_accuracy": validation.accuracy,
            "difference_interval": [low, high],
            "chance": 1 / classes,
            "loss_of_guessing": log(classes),
        },
        remedies.against_underfitting(spec),
    )


def _ended_early(
    curves: Curves, spec: Spec | None, seen: str, numbers: dict[str, Any], *, still_falls: bool
) -> Finding:
    return Finding(
        "not_converged",
        "warning",
        f"{seen}: it is too early to judge.",
        numbers | {"epochs": curves.epochs, "last": curves.heldout[-1]},
        remedies.more_epochs(spec, curves.epochs, still_falls),
    )


def metric_artefact(history: History, evaluation: Evaluation | None) -> Finding | None:
    """`fit` shows a gap that is not there: its accuracy is an average under dropout and augmentation."""
    fit = [value for value in history.fit_accuracy if value is not None]
    measured = [value for value in history.train_accuracy if value is not None]
    heldout = [value for value in history.validation_accuracy if value is not None]
    if not (fit and measured and heldout):
        return None
    shown, real = fit[-1] - heldout[-1], measured[-1] - heldout[-1]
    if real - shown < ARTEFACT or shown > -ARTEFACT / 2:
        return None
    return Finding(
        "metric_artefact",
        "warning",
        f"fit reports a training accuracy of {fit[-1]:.3f}, {-100 * shown:.1f} points below validation "
        f"({heldout[-1]:.3f}). Measured in inference mode on the same weights it is {measured[-1]:.3f}, "
        f"{100 * real:+.1f} points: the rest is dropout, augmentation and the average over an epoch "
        "in which the weights moved.",
        {"fit_accuracy": fit[-1], "train_accuracy": measured[-1], "validation_accuracy": heldout[-1]},
    )


def _is_overfit(turn: Turn, heldout: list[float], training: list[float], history: History) -> bool:
    if len(training) < FEWEST or not learned_since(turn, training, history) or not _matters(turn, training, history):
        return False
    if turn.rise > CLEAR * turn.noise:
        return True
    # Less than that can be told by many epochs, if training fell by more than its own noise.
    fell = _at(training, turn.best) - level_at_end(training)
    return fell > noise_of(training) and stays_up(heldout, turn, noise_of(heldout, training))


def learned_since(turn: Turn, training: list[float], history: History) -> bool:
    """Whether the training loss fell after the best epoch: where nothing is learned, nothing is overfitted."""
    trained = _at(training, turn.best)
    return trained - level_at_end(training) > (STANDING * trained if history.is_measured else 0.0)


def _matters(turn: Turn, training: list[float], history: History) -> bool:
    """Whether a held-out loss ends far enough above its lowest level, be it by noise or not."""
    # A rise is beside what is left of the loss, which is known where its zero is. Of another, half of its way stands
    # for that, or what its wrong answers cost at least; where it never fell, half of training's way.
    if history.is_measured:
        unit = max(turn.floor, SPENT * turn.way)
    else:
        way = turn.way if turn.best else turn_of(training).way
        unit = max(way / 2, min(turn.floor, _least_loss(history)))
    return turn.rise > RISE * unit


def _least_loss(history: History) -> float:
    """What the wrong answers alone cost at least: ln 2 of cross-entropy each, since another class is as likely."""
    wrong = finite(_wrong(history.validation_accuracy))
    return log(2) * min(smoothed(wrong)) if wrong else 0.0


def _falls(curves: Curves) -> tuple[bool, float]:
    """Whether the last third of the epochs still brought the training loss down, and how far."""
    if not curves.training:
        return False, 0.0
    return falls_at_end(curves.training, turn_of(curves.training, has_zero=curves.history.is_measured))


def _is_measured_overfit(evaluation: Evaluation | None, training: list[float]) -> bool:
    """Whether the last weights answer the training images better than the kept ones, and others surely worse."""
    last = evaluation.last if evaluation else None
    kept = evaluation.get(last.split) if evaluation and last else None
    if last is None or kept is None or kept.loss is None or len(training) < last.epoch:
        return False
    learned = training[last.epoch - 1] < training[last.kept_epoch - 1]
    return learned and last.loss_interval[0] > 0 and last.loss > RISE * kept.loss


def _wrong(accuracy: Curve) -> Curve:
    return tuple(None if value is None else 1 - value for value in accuracy)


def _at(values: list[float], place: int) -> float:
    return values[min(place, len(values) - 1)]
