"""What clients ask for when they order a proof."""

from pydantic import Field

from heldout.spec.part import SpecPart


class ProofBudget(SpecPart):
    """What the experiments may cost together."""

    trainings: int = Field(6, ge=1, le=100, description="The most trainings.")
    seconds: float = Field(600, gt=0, le=604_800, description="The most seconds, as estimated before each training.")


class ProofSpec(SpecPart):
    """An order to make sure of a job's verdict by short trainings."""

    budget: ProofBudget = ProofBudget()
