"""What the catalogue of remedies says of a study's arms."""

from typing import Any

from heldout.errors import InvalidSpec
from heldout.remedies.arms import JOINT, outcome_of
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import Base, NoChange
from heldout.spec.job import JobSpec
from heldout.views.study import ArmView


def is_of_catalogue(arm: ArmView, spec: JobSpec) -> bool:
    """Whether the arm is what this release means by its name; a client's own patch may bear the same one."""
    if any(part not in REMEDIES for part in arm.name.split(JOINT)):
        return False
    try:
        outcome = outcome_of(arm.name, Base(spec.model_dump(mode="json"), None))
    except InvalidSpec:
        return False
    return not isinstance(outcome, NoChange) and arm.patch in (outcome.patch, *outcome.candidates)


def as_ordered(arm: ArmView, spec: JobSpec) -> str | dict[str, Any]:
    """The arm in the body that orders a study: by name where that gives the same, else with its patch."""
    if JOINT in arm.name or is_of_catalogue(arm, spec):
        return arm.name
    return {"name": arm.name, "patch": arm.patch}


def idea_of(arm: ArmView, spec: JobSpec) -> str | None:
    """Why the remedy may help, for someone who has never trained a network."""
    if not is_of_catalogue(arm, spec):
        return None
    return " ".join(REMEDIES[part].reason for part in arm.name.split(JOINT))
