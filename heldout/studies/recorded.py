"""The body that starts a study of trainings that were done before it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from heldout.spec.job import Metadata, Name
from heldout.spec.objective import Costs, GroupColumn, require_parts
from heldout.spec.part import SpecPart
from heldout.studies.spec import BASE_ARM, Objective, RemedyName

# More arms than a study compares, so that the trials of a tuner are refused as such.
MAX_ARMS, MAX_COMPARED_ARMS, MAX_RUNS = 1000, 21, 1000
FEWEST_RUNS = 2
MAX_SEED = 2**31 - 1


class RecordedRunSpec(SpecPart):
    """One training: its name, its seed, and its final figure if only that is known."""

    run: str | None = Field(None, min_length=1, max_length=200, description="Its name, such as that of its file.")
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Runs of two arms with the same seed are paired. null if it is unknown."
    )
    value: float | None = Field(
        None, allow_inf_nan=False, description="Its final figure. null for all runs: their answers are uploaded."
    )


class RecordedArm(SpecPart):
    """One way to train, and its runs."""

    name: RemedyName
    runs: Annotated[list[RecordedRunSpec], Field(min_length=1, max_length=MAX_RUNS)]


class RecordedStudySpec(SpecPart):
    """A study of trainings that were done before it: by their answers to images, or by their final figures."""

    kind: Literal["recorded"]
    name: Name | None = Field(None, description="Generated if absent.")
    arms: Annotated[list[RecordedArm], Field(min_length=2, max_length=MAX_ARMS)] = Field(
        description="The first is `base`, with which all others are compared. At most 21, each with at least 2 runs."
    )
    metric: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="What the runs' `value` is, such as `accuracy`. null: the runs' answers are uploaded.",
    )
    better: Literal["higher", "lower"] = Field(
        "higher", description="`higher` for shares between 0 and 1, such as an accuracy; `lower` for losses."
    )
    images: int | None = Field(
        None,
        ge=2,
        le=1_000_000_000,
        description="How many images `value` is a share of. Without it, the intervals cover seeds only.",
    )
    objective: Objective = None
    costs: Costs = None
    group_column: GroupColumn = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_runs(self) -> "RecordedStudySpec":
        check_arm_names([arm.name for arm in self.arms])
        require_parts(self.objective, self.costs, self.group_column)
        if self.metric is None and self.images is not None:
            _refuse(("images",), "`images` belongs to final figures; name them in `metric`")
        if self.better == "lower" and (self.images is not None or self.metric is None):
            what = "`images` belongs to shares of right answers" if self.images else "`better` belongs to `metric`"
            _refuse(("better",), f"{what}; leave one of them out")
        if self.objective is not None and self.metric is not None:
            _refuse(("objective",), "final figures have one measure, their `metric`; leave `objective` out")
        for place, arm in enumerate(self.arms):
            self._check_arm(place, arm)
        return self

    def _check_arm(self, place: int, arm: RecordedArm) -> None:
        seen: dict[int, str] = {}
        for number, run in enumerate(arm.runs):
            where, name = ("arms", place, "runs", number), describe_run(run, number)
            if run.seed is not None and run.seed in seen:
                _refuse(
                    (*where, "seed"),
                    f"seed {run.seed} comes twice in `{arm.name}`: {seen[run.seed]} and {name}. Leave one of them out",
                )
            if run.seed is not None:
                seen[run.seed] = name
            if (run.value is None) != (self.metric is None):
                expected = "no `value`, because there is no `metric`" if self.metric is None else f"its {self.metric}"
                _refuse((*where, "value"), f"in `{arm.name}`, {name}: expected {expected}")
            if run.value is None:
                continue
            if self.better == "higher" and not 0 <= run.value <= 1:
                advice = "Divide percentages by 100, and give `better: lower` for a loss"
                _refuse((*where, "value"), f"in `{arm.name}`, {name} has {run.value:g}; expected 0 to 1. {advice}")
            if run.value < 0:
                _refuse((*where, "value"), f"in `{arm.name}`, {name} has {run.value:g}; expected at least 0")


def describe_run(run: RecordedRunSpec, place: int) -> str:
    """Return what people call a run: its name, or its number."""
    return f"run {place + 1}" if run.run is None else run.run


def check_arm_names(names: list[str]) -> None:
    """Refuse arms whose first one is not the base, and names that occur twice. Raises ValueError."""
    if names[0] != BASE_ARM:
        raise ValueError(
            f"the first arm is called `{names[0]}`; it is what others are compared with: name it `{BASE_ARM}`"
        )
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"`{twice}` occurs twice; each arm needs a name of its own")


def _refuse(path: tuple[str | int, ...], why: str) -> None:
    raise PydanticCustomError("value_error", "{why}", {"why": why, "path": path})
