"""The body that starts a study: which job or spec, which remedies, how many seeds, and the maximum cost."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from heldout.metrics import METRICS, USUAL_MARGIN
from heldout.metrics import Measure as Measure
from heldout.spec.job import JobSpec, Metadata, Name, Priority
from heldout.spec.objective import Costs, GroupColumn, require_parts
from heldout.spec.part import SpecPart

# The unchanged arm, with which every remedy is compared.
BASE_ARM = "base"
# Limit for the patches of one study as JSON. The longest useful ones name a weight for each of a thousand classes.
MAX_PATCHES_BYTES = 64 * 1024
ALL_KINDS = ("remedies", "learning_curve", "external", "recorded", "judge")
RemedyName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_+ .-]*$")]


Objective = Annotated[
    Measure | None,
    Field(
        description="The measure of validation that decides, fixed when the study is ordered. Only it is compared, so "
        "its intervals allow for half as many comparisons. null: the objective of the base. If the base has "
        "none, either, a cure must improve accuracy or loss and make neither worse."
    ),
]


Question = Annotated[
    Literal["better", "as_good"],
    Field(
        description="What is asked of each arm: whether it is better than the base, or as good, such as a smaller "
        "network. `as_good` compares the `objective`, by default accuracy."
    ),
]
Margin = Annotated[
    float | None,
    Field(
        gt=0,
        le=0.5,
        description="By how much an arm may be worse and still be as good, as a share: 0.01 is one point. Implies "
        f"`question: as_good`, for which null means {USUAL_MARGIN:g}.",
    ),
]


def resolve_margin(question: str, margin: float | None, objective: Measure | None) -> float | None:
    """Return the margin within which arms are as good; None if it is asked whether they are better.

    Raises:
        ValueError: if the objective is not a share.
    """
    if question == "better" and margin is None:
        return None
    if objective is not None and not METRICS[objective].is_share:
        raise ValueError(f"`as_good` compares shares, and `{objective}` is not one. Name another `objective`")
    return USUAL_MARGIN if margin is None else margin


class NamedPatch(SpecPart):
    """A client's own remedy: a name, and a merge patch (RFC 7396) of the base spec."""

    name: RemedyName
    patch: dict[str, Any] = Field(
        description=f"All patches of a study together may have at most {MAX_PATCHES_BYTES:,} bytes as JSON."
    )


class StudyBudget(SpecPart):
    """The maximum cost of a study. A look that would exceed it is not started."""

    jobs: int | None = Field(None, ge=2, le=2000, description="Maximum number of trainings.")
    seconds: float | None = Field(None, gt=0, le=2_592_000, description="Maximum time of all trainings together.")


# The most remedies of a first answer: with the base, four arms.
FIRST_REMEDIES = 3
Extent = Literal["first", "full"]


class StudySpec(SpecPart):
    """A study: remedies × seeds on one dataset, compared on validation, and tested once."""

    name: Name | None = Field(None, description="Generated if absent.")
    kind: Literal["remedies", "learning_curve"] = Field(
        "remedies", description="What is compared; `learning_curve` trains the base on more and more images."
    )
    job: str | None = Field(None, max_length=40, description="`job_…` of the same owner, whose spec is the base.")
    spec: JobSpec | None = Field(None, description="The base, if it is not a job's spec.")
    remedies: Literal["auto"] | Annotated[list[RemedyName | NamedPatch], Field(min_length=1, max_length=20)] = Field(
        "auto",
        description="Names, combinations `a+b`, or your own patches; `auto` chooses from what training and validation "
        "show. At most 20. The patches of all arms together may have at most 131,072 bytes.",
    )
    extent: Extent | None = Field(
        None,
        description=f"`first`: a first answer. At most {FIRST_REMEDIES} remedies are compared with the base, and only "
        "the leading one gets more seeds; `POST …/continue` adds to it. `full`: all remedies that suit the job, and "
        f"each that may still win gets more seeds. null: `full` if more than {FIRST_REMEDIES} are named, else `first`.",
    )
    seeds: int = Field(
        3,
        ge=2,
        le=20,
        description="Seeds of the first look at every arm; arms that may still win get more. With 2, no range is "
        "shown until there are more: two seeds tell nothing.",
    )
    splits: Literal["auto", "fixed", "resampled"] = Field(
        "auto",
        description="`fixed`: the dataset's own splits. `resampled`: each seed gets its own fold. `auto` resamples "
        "below 1,000 validation images, unless an arm starts from `initial`: those weights may know a fold's images.",
    )
    objective: Objective = None
    costs: Costs = None
    group_column: GroupColumn = None
    question: Question = "better"
    margin: Margin = None
    data: Literal["fix", "as_they_are"] | None = Field(
        None,
        description="What to do if the data have faults that no remedy cures. `fix` makes a version without them and "
        "compares on that. `as_they_are` compares anyway. null refuses (`data_first`).",
    )
    budget: StudyBudget = StudyBudget()
    priority: Priority | None = Field(
        None,
        description="Priority of its jobs; null: one below the base's, so that the owner's single jobs come first.",
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Like a job's metadata, and also set on each of its jobs."
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _check_kind(cls, kind: Any) -> Any:
        if kind not in ALL_KINDS:  # two of them have specs of their own (`AnyStudySpec`)
            raise ValueError(f"received {str(kind)[:80]!r}; expected one of {', '.join(ALL_KINDS)}")
        return kind

    @field_validator("remedies")
    @classmethod
    def _check_size_of_patches(cls, remedies: Any) -> Any:
        total = 0
        for place, remedy in enumerate(remedies):
            if not isinstance(remedy, NamedPatch):
                continue
            total += len(json.dumps(remedy.patch, ensure_ascii=False, separators=(",", ":")).encode())
            if total > MAX_PATCHES_BYTES:
                raise PydanticCustomError(
                    "value_error",
                    "up to here, the study's patches take {received} bytes as JSON, but all together may take at most "
                    "{most}: name only what differs from the base",
                    {"received": f"{total:,}", "most": f"{MAX_PATCHES_BYTES:,}", "path": (place, "patch")},
                )
        return remedies

    @model_validator(mode="after")
    def _check_has_one_base(self) -> "StudySpec":
        if (self.job is None) == (self.spec is None):
            raise ValueError("name either `job` or `spec`")
        require_parts(None, self.costs, None)  # those of the base are not known here
        if self.kind == "learning_curve" and self.objective is not None and not METRICS[self.objective].is_share:
            raise ValueError(
                f"a `learning_curve` follows a share, and `{self.objective}` is not one. Leave `objective` out"
            )
        asks_as_good = resolve_margin(self.question, self.margin, self.objective) is not None
        if asks_as_good and (self.kind == "learning_curve" or self.remedies == "auto"):
            raise ValueError("`as_good` needs `remedies`: name the networks or changes that may be as good")
        if asks_as_good and self.extent == "first":
            raise ValueError("`as_good` gives each arm as many seeds as it needs; leave `extent` out")
        if self.kind == "learning_curve" and self.extent is not None:
            raise ValueError("a `learning_curve` compares no remedies; leave `extent` out")
        return self


class ContinueSpec(SpecPart):
    """What continuing a study adds."""

    remedies: Literal["all", "same"] = Field(
        "all",
        description="`all`: more seeds for each remedy that may still win, and the remedies that the first answer left "
        "out (`left_out`). `same`: only more seeds.",
    )
    budget: StudyBudget = Field(
        StudyBudget(), description="The budget of the whole study, with what it has done; it replaces the order's."
    )


def find_pointer_to(asked: StudySpec, name: str) -> str:
    """Find the part of the request that names an arm: the base, a remedy, or a combination that contains it."""
    if name == BASE_ARM:
        return "/job" if asked.job is not None else "/spec"
    if asked.remedies == "auto":
        return "/remedies"
    names = [remedy.name if isinstance(remedy, NamedPatch) else remedy for remedy in asked.remedies]
    places = [place for place, arm_name in enumerate(names) if arm_name == name or name in arm_name.split("+")]
    return f"/remedies/{places[0]}" if places else "/remedies"
