"""The diagnosis of what another program has recorded, with how its figures were read."""

from collections.abc import Sequence
from dataclasses import replace

from heldout.diagnosis import Diagnosis, Evaluation, diagnose
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.histories.names import assign_roles, list_first
from heldout.histories.recorded import ReadHistory


def diagnose_read(read: ReadHistory, evaluation: Evaluation | None = None, notes: Sequence[str] = ()) -> Diagnosis:
    """The diagnosis; its explanation ends with what was decided when the figures were read.

    Args:
        evaluation: answers of the same training's weights, or the names of its classes alone.
        notes: how the answers were read.
    """
    diagnosis = diagnose(read.history, None, evaluation)
    verdict, explanation = add_reading_notes(read, diagnosis.verdict, " ".join((diagnosis.explanation, *notes)))
    if verdict == diagnosis.verdict:
        return replace(diagnosis, explanation=explanation)
    headline = "A loss that was never finite tells nothing."
    summary = "Check how the validation loss is computed, and record a finite one of training and validation."
    return replace(
        diagnosis, verdict=verdict, explanation=explanation, confidence=None, headline=headline, summary=summary
    )


def add_reading_notes(read: ReadHistory, verdict: str, explanation: str) -> tuple[str, str]:
    """The verdict and its explanation with what was decided when the figures were read."""
    said = [explanation, *read.notes]
    if read.without_values:
        said.append(f"There is nothing but NaN in {list_first(read.without_values)}, as a mean over no images is.")
    of_loss = [
        name for name, role in assign_roles(read.without_values).items() if role is not None and role[1] == "loss"
    ]
    if of_loss and verdict == HEALTHY:
        verdict = CANNOT_TELL
        said.append(
            "So whether the training is healthy cannot be told: check how the loss is computed, and record a finite "
            "one of training and validation."
        )
    return verdict, " ".join(said)
