"""The bodies that open a judge, send it a candidate, and close it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from heldout.metrics import USUAL_MARGIN
from heldout.spec.job import Metadata, Name
from heldout.spec.part import SpecPart
from heldout.studies.spec import RemedyName

MOST_LOOKS = 200
MOST_IMAGES = 50_000
ImageId = Annotated[str, Field(min_length=1, max_length=256)]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]


class SealedLabels(SpecPart):
    """The images of a split by id, such as their file names, and the label of each."""

    ids: Annotated[list[ImageId], Field(min_length=20, max_length=MOST_IMAGES)]
    labels: Annotated[list[ClassName], Field(min_length=20, max_length=MOST_IMAGES)]

    @model_validator(mode="after")
    def _check(self) -> "SealedLabels":
        if len(self.ids) != len(self.labels):
            raise ValueError(f"received {len(self.ids):,} ids and {len(self.labels):,} labels; expected one each")
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("an id occurs twice; expected a different one for each image")
        return self


class JudgeSpec(SpecPart):
    """A judge: it keeps labels that no candidate sees, and says which candidates are surely better."""

    kind: Literal["judge"]
    name: Name | None = Field(None, description="Generated if absent.")
    classes: Annotated[list[ClassName], Field(min_length=2, max_length=1000)] = Field(
        description="In the order in which answers number them."
    )
    validation: SealedLabels = Field(description="The sealed part of validation, on which candidates are judged.")
    test: SealedLabels | None = Field(None, description="Read once, at the close, for the base and the best.")
    looks: int = Field(20, ge=1, le=MOST_LOOKS, description="How many candidates may be judged.")
    seeds: int = Field(1, ge=1, le=20, description="Trainings of each candidate; 1 judges single networks.")
    margin: float = Field(
        USUAL_MARGIN,
        gt=0,
        le=0.5,
        description="By how much the best may be worse than the base and as good, at the close.",
    )
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> "JudgeSpec":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class occurs twice; expected different names")
        known = set(self.classes)
        for split in filter(None, (self.validation, self.test)):
            other = next((label for label in split.labels if label not in known), None)
            if other is not None:
                raise ValueError(f"the label `{other[:40]}` is none of the classes")
        return self


class CandidateAnswers(SpecPart):
    """The answers of a candidate's networks to one split.

    Each answer is the number of a class, from 0.
    """

    ids: Annotated[list[ImageId], Field(max_length=MOST_IMAGES)] | None = Field(
        None, description="Of the images, in the order of the answers. null: in the order of the judge."
    )
    answers: Annotated[
        list[Annotated[list[Annotated[int, Field(ge=0, lt=1000)]], Field(max_length=MOST_IMAGES)]],
        Field(min_length=1, max_length=20),
    ] = Field(description="A list for each seed.")


class CandidateSpec(SpecPart):
    """A candidate. The first one is the base, and spends no look."""

    name: RemedyName
    validation: CandidateAnswers
    test: CandidateAnswers | None = Field(
        None, description="Required if the judge has test labels; sealed until the close."
    )
