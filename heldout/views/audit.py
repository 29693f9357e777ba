"""The audit of a dataset, and its images with probably wrong labels."""

from typing import Any, Literal

from pydantic import Field

from heldout.stored.audit import PlantedLabels
from heldout.stored.evaluation import SplitName
from heldout.views.base import ErrorView, View
from heldout.views.dataset import EffectView, ExampleView, ImageView, SplitsView
from heldout.views.job import DatasetReference


class SuspectView(ImageView):
    """An image whose label is probably wrong."""

    rank: int = Field(description="From 1, the most certain first.")
    split: SplitName
    label: str = Field(description="Its class according to the label.")
    suggested: str = Field(description="The class that the networks find more likely.")
    probability: float | None = Field(
        description="Probability that its label is wrong; null if the search cannot tell."
    )


class WrongLabelsView(View):
    """How many labels of the whole dataset are probably wrong."""

    count: int
    share: float
    low: int = Field(description="The range from `low` to `high` should be right for 95% of all datasets.")
    high: int


class SplitLabelsView(WrongLabelsView):
    """How many labels of one split are probably wrong."""

    images: int


class ClassLabelsView(View):
    """How well the search knows one class."""

    name: str
    images: int
    agreement: float
    found: float = Field(description="Share of its planted labels that the search suspected.")
    wrong: float | None = Field(
        None,
        description="How many of its labels are probably wrong. Null if the networks do not know the class, so that "
        "its labels were not judged, and for searches of earlier releases.",
    )


class SearchView(View):
    """How the labels were judged."""

    networks: int = Field(description="Number of networks trained.")
    trained_on: int = Field(description="Largest number of images that one of them was trained on.")
    seen_as: tuple[int, int] = Field(description="Height and width of the images given to the networks.")
    agreement: float = Field(
        description="Share of all images whose label agrees with networks that were not trained on them."
    )
    surest_agreement: float | None = Field(
        None,
        description="The same for the fifth of the images of which they are surest: hard images make networks unsure, "
        "wrong labels do not. Null for a search of an earlier release.",
    )
    planted: PlantedLabels | None = Field(description="Null for a search of an earlier release.")
    classes: list[ClassLabelsView] = Field(description="The class with the lowest agreement first.")


class SuspectsView(View):
    """A page of the suspects that a search for wrong labels found; empty while it waits or runs.

    If the search cannot tell, `data` contains the most unusual images, without probabilities.
    """

    object: Literal["suspects"]
    status: Literal["queued", "running", "ready", "failed"]
    dataset: DatasetReference
    explanation: str
    error: ErrorView | None = Field(description="Why the search failed.")
    images: int | None = Field(
        description="How many images were judged: all of the dataset, except classes that the networks do not know."
    )
    verdict: Literal["can_tell", "too_hard", "split_disagrees"] | None = Field(
        description="Whether the search can tell wrong labels from hard images. `split_disagrees`: most labels of a "
        "split are wrong, so no count is reliable. Null until the search has ended, and for searches of earlier "
        "releases, which did not check themselves."
    )
    wrong: WrongLabelsView | None = Field(description="Null unless `verdict` is `can_tell`.")
    splits: dict[str, SplitLabelsView] | None = Field(description="`wrong` for each split; null if `wrong` is null.")
    search: SearchView | None
    data: list[SuspectView]
    has_more: bool
    next: int | None = Field(description="`after` of the next page, null at the end.")


class AuditFindingView(View):
    """A finding of the audit; `pairs` are images that belong together."""

    code: str
    severity: Literal["info", "warning", "critical"]
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[ExampleView]
    pairs: list[tuple[ExampleView, ExampleView]]
    fix: dict[str, Any] | None = Field(
        None, description="Body for `POST /v1/datasets/{id}/versions` that fixes it; null if no such change can."
    )
    effect: EffectView | None = Field(
        None, description="Which images `fix` removes or changes; null without `fix`, or if files are lost."
    )


class LabelCheckView(View):
    """What the search for wrong labels found in training and validation labels. Test labels are in `/suspects`."""

    verdict: Literal["can_tell", "too_hard", "split_disagrees"]
    explanation: str
    splits: dict[str, SplitLabelsView] | None = Field(description="Null unless `verdict` is `can_tell`.")


class AuditQuestionView(View):
    """A question that only the owner can answer, not a fault."""

    text: str
    page: str = Field(description="The page of the manual that explains it, below `/manual/`.")


class ProposedStartView(View):
    """The preset that a first job on a dataset should start from."""

    preset: Literal["photos", "regularized"] = Field(description="Of `heldout train --preset`.")
    reason: str


class AuditView(View):
    """What is known about a dataset before anything is trained on it, the most serious findings first."""

    object: Literal["audit"]
    dataset: DatasetReference
    sha256: str
    splits: SplitsView
    headline: str = Field("", description="What is wrong, in at most 12 words.")
    summary: str = Field("", description="What it does and what to do next, in at most two sentences and 40 words.")
    findings: list[AuditFindingView]
    question: AuditQuestionView | None = Field(
        None, description="Whether images belong together, if they were split at random without `group_by`."
    )
    start: ProposedStartView | None = Field(
        None, description="What a first job should start from; null where no service was asked."
    )
    statistics: dict[str, Any] = Field(
        description="Statistics of the pixel values of each split, as fractions of the range."
    )
    checks: dict[str, Any] = Field(description="What was checked, and how.")
    labels: LabelCheckView | None = Field(None, description="Null until the search for wrong labels has run.")
    left_out: list[ErrorView] = Field([], description="Lost or damaged files, because of which `labels` is null.")
    source: dict[str, Any] = Field(description="The upload: its format, image encodings, and how splits were made.")
