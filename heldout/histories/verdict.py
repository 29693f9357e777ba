"""The diagnosis of a history that another program has recorded, with how its figures were read."""

from dataclasses import replace

from heldout.diagnosis import Diagnosis, diagnose
from heldout.histories.recorded import ReadHistory


def diagnose_read(read: ReadHistory) -> Diagnosis:
    """The diagnosis; its explanation ends with what was decided when the figures were read."""
    diagnosis = diagnose(read.history)
    return replace(diagnosis, explanation=" ".join((diagnosis.explanation, *read.notes)))
