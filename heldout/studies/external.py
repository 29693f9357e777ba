"""The body that starts a study of trainings that run elsewhere, asked for and reported over HTTP."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from typing_extensions import TypeAliasType

from heldout.spec.job import Metadata, Name
from heldout.spec.objective import Costs, GroupColumn, require_parts
from heldout.spec.part import SpecPart
from heldout.studies.judge import JudgeSpec
from heldout.studies.recorded import RecordedStudySpec, check_arm_names
from heldout.studies.spec import Margin, Objective, Question, RemedyName, StudyBudget, StudySpec, resolve_margin

ParameterName = Annotated[str, Field(min_length=1, max_length=64)]
ParameterValue = bool | int | float | Annotated[str, Field(max_length=512)] | None


class ExternalArm(SpecPart):
    """One way to train: a name, and the parameters that its trainings get."""

    name: RemedyName
    parameters: Annotated[dict[ParameterName, ParameterValue], Field(max_length=64)] = Field({})


class ExternalStudySpec(SpecPart):
    """A study of trainings that run outside the service. Runners ask for one at a time and report its answers."""

    kind: Literal["external"]
    name: Name | None = Field(None, description="Generated if absent.")
    arms: Annotated[list[ExternalArm], Field(min_length=2, max_length=21)] = Field(
        description="The first is `base`, with which all others are compared."
    )
    seeds: int = Field(
        3, ge=2, le=20, description="Seeds of the first look at every arm; arms that may still win get more."
    )
    splits: Literal["fixed", "resampled"] = Field(
        "fixed",
        description="`fixed`: all trainings answer the same validation images. `resampled`: each seed has its own "
        "fold, which the script cuts by the number that it gets.",
    )
    objective: Objective = None
    costs: Costs = None
    group_column: GroupColumn = None
    question: Question = "better"
    margin: Margin = None
    budget: StudyBudget = StudyBudget()
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("arms")
    @classmethod
    def _check_names(cls, arms: list[ExternalArm]) -> list[ExternalArm]:
        check_arm_names([arm.name for arm in arms])
        return arms

    @model_validator(mode="after")
    def _check_costs(self) -> "ExternalStudySpec":
        require_parts(self.objective, self.costs, self.group_column)
        resolve_margin(self.question, self.margin, self.objective)
        return self


# Names of the kinds in the validator's locations; they must not be names of fields (`list_field_errors`).
_HERE, _ELSEWHERE, _BEFORE = "trainings of the service", "trainings elsewhere", "trainings done before"
_JUDGED = "candidates to judge"


def _get_place(study: Any) -> str:
    kind = study.get("kind") if isinstance(study, dict) else getattr(study, "kind", None)
    return {"external": _ELSEWHERE, "recorded": _BEFORE, "judge": _JUDGED}.get(
        kind if isinstance(kind, str) else "", _HERE
    )


# A named alias, because FastAPI drops the discriminator of a plain one.
AnyStudySpec = TypeAliasType(
    "AnyStudySpec",
    Annotated[
        Annotated[StudySpec, Tag(_HERE)]
        | Annotated[ExternalStudySpec, Tag(_ELSEWHERE)]
        | Annotated[RecordedStudySpec, Tag(_BEFORE)]
        | Annotated[JudgeSpec, Tag(_JUDGED)],
        Discriminator(_get_place),
    ],
)
