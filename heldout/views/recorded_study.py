"""What a study of recorded trainings compares."""

from typing import Literal

from pydantic import Field

from heldout.stored.results import Figure
from heldout.views.base import View


class RecordedRunView(View):
    """A run that was recorded before the study."""

    run: str
    seed: int | None
    value: Figure = Field(description="Its final figure; null if it has answers.")


class RecordedArmView(View):
    """The runs of an arm, and how they are compared with the base's."""

    name: str
    runs: list[RecordedRunView]
    paired: bool | None = Field(description="Whether runs are paired with the base's by seed; null for the base.")


class RecordedView(View):
    """What a study of recorded runs compares, and the lot that was drawn before any figure was read."""

    metric: str | None = Field(
        description="Name of the final figures; null if runs have answers. Arms show it as `accuracy` if higher is "
        "better, else as `loss`."
    )
    better: Literal["higher", "lower"]
    images: int | None = Field(description="How many images a figure is a share of; null: the intervals cover seeds.")
    arms: list[RecordedArmView]
    chooses: list[str] = Field(description="The half of the seeds, or of runs without seeds, that chooses an arm.")
    confirms: list[str] = Field(description="The half that then has to prove it alone.")
