"""The diagnosis of answers from any network, with or without the curves of the training."""

from dataclasses import replace

from analysis.answers.foreign import build_evaluation
from analysis.answers.received import ForeignAnswers
from heldout.diagnosis import Diagnosis, Evaluation
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import Curve, History
from heldout.histories.recorded import ReadHistory
from heldout.histories.verdict import diagnose_read

# Tolerance as a share of a loss, and as accuracy. Programs write four digits, and average over unequal batches.
_MAX_LOSS_DIFFERENCE = 0.001
_MAX_ACCURACY_DIFFERENCE = 0.0005


def diagnose_answers(answers: ForeignAnswers | None, read: ReadHistory | None, classes: int = 0) -> Diagnosis:
    """Diagnose what is known: curves, answers, or both.

    Args:
        classes: how many there are, if only the curves are known; 0 if that is unknown, too.
    """
    read = read or ReadHistory(History())
    if answers is None:
        return diagnose_read(read, Evaluation({}, tuple(map(str, range(classes)))) if classes else None)
    evaluation, numbers, notes = build_evaluation(answers), read.history.epoch_numbers, list(answers.notes)
    if (epoch := find_epoch(read.history, evaluation.get("validation"))) is not None:
        gap = evaluation.gap
        if gap is not None:
            kept = gap.model_copy(update={"kept_epoch": epoch, "epochs": numbers[-1]})
            evaluation = replace(evaluation, gap=kept)
        notes.append(f"The answers are those of epoch {epoch}: its validation figures are the same.")
    return diagnose_read(read, evaluation, notes)


def find_epoch(history: History, validation: SplitFigures | None) -> int | None:
    """Return the epoch whose validation accuracy and loss match those of the answers.

    None if none or several match.
    """
    if validation is None or not history.validation_accuracy:
        return None
    losses = history.validation_loss if validation.loss is not None else ()
    near = max(_MAX_ACCURACY_DIFFERENCE, 0.5 / validation.count)
    matching = [
        number
        for place, number in enumerate(history.epoch_numbers)
        if _is_near(history.validation_accuracy, place, validation.accuracy, near)
        and (not losses or _is_near(losses, place, validation.loss or 0.0, _MAX_LOSS_DIFFERENCE))
    ]
    return matching[0] if len(matching) == 1 else None


def _is_near(curve: Curve, place: int, value: float, least: float) -> bool:
    there = curve[place] if place < len(curve) else None
    return there is not None and abs(there - value) <= max(least, _MAX_LOSS_DIFFERENCE * abs(value))
