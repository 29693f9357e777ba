"""The diagnosis of answers from anywhere, with or without the curves of the training."""

from dataclasses import replace

from heldout.diagnosis import Diagnosis, Evaluation
from heldout.diagnosis.history import History
from heldout.histories.kept_epoch import epoch_of
from heldout.histories.recorded import ReadHistory
from heldout.histories.verdict import diagnose_read
from models.answers.foreign import evaluation_of
from models.answers.received import ForeignAnswers


def diagnosis_of(answers: ForeignAnswers | None, read: ReadHistory | None, classes: int = 0) -> Diagnosis:
    """Judge what is known: curves, answers, or both.

    Args:
        classes: how many there are, where only the curves are known; 0 where that is not known, either.
    """
    read = read or ReadHistory(History())
    if answers is None:
        return diagnose_read(read, Evaluation({}, tuple(map(str, range(classes)))) if classes else None)
    evaluation, numbers, notes = evaluation_of(answers), read.history.epoch_numbers, list(answers.notes)
    if (epoch := epoch_of(read.history, evaluation.get("validation"))) is not None:
        gap = evaluation.gap
        if gap is not None:
            kept = gap.model_copy(update={"kept_epoch": epoch, "epochs": numbers[-1]})
            evaluation = replace(evaluation, gap=kept)
        notes.append(f"The answers are those of epoch {epoch}: its validation figures are the same.")
    return diagnose_read(read, evaluation, notes)
