"""The diagnosis of a history recorded by another program, with notes on how its figures were read."""

from collections.abc import Sequence
from dataclasses import replace

from heldout.diagnosis import Diagnosis, Evaluation, diagnose
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.histories.names import assign_roles, list_first
from heldout.histories.recorded import ReadHistory


def diagnose_read(read: ReadHistory, evaluation: Evaluation | None = None, notes: Sequence[str] = ()) -> Diagnosis:
    """Diagnose a history; the explanation ends with notes on how the figures were read.

    Args:
        evaluation: answers of the same training's weights, or only the names of its classes.
        notes: how the answers were read.
    """
    diagnosis = diagnose(read.history, None, evaluation)
    verdict, explanation = add_reading_notes(read, diagnosis.verdict, " ".join((diagnosis.explanation, *notes)))
    if verdict == diagnosis.verdict:
        return replace(diagnosis, explanation=explanation)
    headline = "The validation loss was never a finite number."
    summary = "Check how it is computed, and record finite losses of training and validation."
    return replace(
        diagnosis, verdict=verdict, explanation=explanation, confidence=None, headline=headline, summary=summary
    )


def judge_curves(read: ReadHistory, classes: int | Sequence[str] | None = None) -> Diagnosis:
    """Diagnose curves alone. classes: how many there are, or their names; then a loss can be compared with chance."""
    names = tuple(map(str, range(classes) if isinstance(classes, int) else classes or ()))
    return diagnose_read(read, Evaluation({}, names) if names else None)


def add_reading_notes(read: ReadHistory, verdict: str, explanation: str) -> tuple[str, str]:
    """Add notes on how the figures were read to the explanation, and adjust the verdict if necessary."""
    messages = [explanation, *read.notes]
    if read.without_values:
        messages.append(f"Only NaN was recorded for {list_first(read.without_values)}, like a mean over no images.")
    of_loss = [
        name for name, role in assign_roles(read.without_values).items() if role is not None and role[1] == "loss"
    ]
    if of_loss and verdict == HEALTHY:
        verdict = CANNOT_TELL
        messages.append(
            "So it is unknown whether the training is healthy. Check how the loss is computed, and record finite "
            "losses of training and validation."
        )
    return verdict, " ".join(messages)
