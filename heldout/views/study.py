"""A study: its arms, how they compare, and what follows from it."""

from typing import Any, Literal

from pydantic import Field

from heldout.spec.job import JobSpec
from heldout.stored.final import Figure
from heldout.views.base import Time, View
from heldout.views.job import DatasetReference, JobErrorView
from heldout.views.page import Page

Interval = tuple[float, float] | None
StudyStatus = Literal["running", "succeeded", "failed", "cancelled"]
ArmStatus = Literal["racing", "dropped", "finished"]
ConclusionKind = Literal["cure", "nothing_helped", "cannot_tell"]
Measure = Literal["accuracy", "loss"]
Side = Literal["better", "worse", "may_be_chance"]
Effect = Literal["better", "worse", "mixed", "may_be_chance"]


def find_side(bounds: Interval, measure: Measure) -> Side:
    """On which side of 0 an interval of differences lies. A fall of the loss is what is better."""
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "may_be_chance"
    return "better" if (bounds[0] > 0) == (measure == "accuracy") else "worse"


class IntervalsView(View):
    """95% intervals of a loss and an accuracy; null where nothing can be said."""

    loss: Interval = None
    accuracy: Interval = None


class ArmFiguresView(View):
    """Means over the arm's seeds, of the kept weights."""

    loss: Figure
    accuracy: Figure
    intervals: IntervalsView


class DifferenceView(View):
    """An arm's mean minus the base's, on the same images, seeds and folds. Better: a lower loss, a higher accuracy."""

    loss: Figure
    accuracy: Figure
    intervals: IntervalsView = Field(description="Each for itself: right in 95 of 100 comparisons.")
    adjusted_intervals: IntervalsView = Field(
        description="Wider, since several remedies and both measures are looked at: all of a study's at once are "
        "right in 95 of 100 studies. These decide."
    )

    def side(self, measure: Measure, *, adjusted: bool = True) -> Side:
        """What the interval of one measure says."""
        return find_side(getattr(self.adjusted_intervals if adjusted else self.intervals, measure), measure)

    @property
    def effect(self) -> Effect:
        """What both measures say together."""
        sides = {self.side("accuracy"), self.side("loss")}
        if sides >= {"better", "worse"}:
            return "mixed"
        return "better" if "better" in sides else "worse" if "worse" in sides else "may_be_chance"


class ArmView(View):
    """One remedy, or the base, with its trainings."""

    name: str
    patch: dict[str, Any] = Field(description="Merge patch (RFC 7396) of the study's `spec`; empty for the base.")
    status: ArmStatus
    jobs: list[str] = Field(description="Ids of its trainings, by seed.")
    seeds: int = Field(description="How many of them have been compared.")
    train: ArmFiguresView | None = Field(description="On the training images.")
    validation: ArmFiguresView | None
    difference: DifferenceView | None = Field(description="null for the base, and until both have been compared.")
    why: str | None = Field(None, description="Why it was dropped, or what is to be known about it.")

    @property
    def base_loss(self) -> float | None:
        """Of the base on the same seeds; null where nothing was compared."""
        if self.difference is None or self.difference.loss is None or self.validation is None:
            return None
        return None if self.validation.loss is None else self.validation.loss - self.difference.loss


class TestFiguresView(View):
    """One arm on the test split: means over its seeds."""

    loss: Figure
    accuracy: Figure
    count: int
    intervals: IntervalsView


class StudyTestView(View):
    """Base and winner on the test split, which nothing was chosen by."""

    base: TestFiguresView
    winner: TestFiguresView
    difference: DifferenceView


class NeedsView(View):
    """What would probably make an answer possible: more seeds alone, else more images alone, else both together.

    null where no more of it is needed, or where no sensible number would do.
    """

    seeds: int | None = None
    images: int | None = None


class GapClosedView(View):
    """How much of the gap between training and held-out images the winner closes, in accuracy, by means over seeds."""

    to: Literal["validation", "test"] = Field(description="`test` where base and winner were measured there.")
    base: float = Field(description="Training accuracy minus held-out accuracy of the base.")
    winner: float = Field(description="The same of the winner: what remains.")
    explanation: str


class ConclusionView(View):
    """The answer."""

    kind: ConclusionKind
    remedy: str | None = Field(description="The winner's name; null unless `kind` is `cure`.")
    explanation: str
    test: StudyTestView | None = Field(None, description="null without a winner or a test split.")
    gap: GapClosedView | None = Field(None, description="null without a winner, and in studies of earlier releases.")
    needs: NeedsView | None = Field(None, description="null unless `kind` is `cannot_tell`.")
    refit: str | None = Field(
        None,
        description="Job that trains the winner on train and validation together: the model to deploy. It is measured "
        "on neither validation nor test.",
    )


class EnsembleFiguresView(View):
    """The mean of the probabilities of all seeds of an arm."""

    members: int
    validation: TestFiguresView | None = Field(
        description="null where each member has validated on a fold of its own: no image is new to all of them."
    )
    test: TestFiguresView | None


class EnsembleView(View):
    """Base and winner as ensembles of their seeds."""

    base: EnsembleFiguresView
    winner: EnsembleFiguresView


class StudyLedgerView(View):
    """What the study has cost, and how often it looked at held-out labels."""

    validation_reads: int
    test_reads: int
    jobs: int
    seconds: float = Field(description="Of its trainings together.")


class StudyProgress(View):
    """Trainings done, of how many are planned now."""

    jobs: int
    done: int
    eta_s: Figure


class BudgetView(View):
    """What it may cost at most; null is no limit."""

    jobs: int | None
    seconds: float | None


class CurvePointView(View):
    """The error of networks that trained on so many images."""

    images: int
    error: float = Field(description="1 − validation accuracy, mean over the seeds.")
    interval: Interval = Field(description="Of the error; right in 95 of 100 cases.")
    loss: Figure = Field(None, description="On validation, mean over the seeds.")
    jobs: list[str] = Field([], description="Its trainings, by seed.")


class ForecastView(View):
    """The error that twice as many images should give."""

    images: int
    error: float
    interval: Interval = Field(description="Of the error on unseen images; right in 90 of 100 cases.")
    method: Literal["power_law", "local"] | None = Field(
        None, description="What the curve is continued by: one law for all sizes, or its last parts."
    )
    explanation: str = ""


class StudyView(View):
    """A study. `version` grows with every change of this body and is its ETag."""

    id: str
    object: Literal["study"]
    name: str
    kind: Literal["remedies", "learning_curve"]
    status: StudyStatus
    spec: JobSpec = Field(description="The base, as each of its jobs has it but for seed and fold.")
    dataset: DatasetReference
    job: str | None = Field(description="The job whose spec is the base.")
    remedies: list[str]
    seeds: int
    splits: Literal["fixed", "resampled"]
    budget: BudgetView
    metadata: dict[str, str] = Field({}, description="Of each of its jobs too.")
    waits_for: str | None = Field(None, description="What is being done before it can begin; null once it has begun.")
    progress: StudyProgress
    headline: str = Field("", description="The answer, in at most 12 words.")
    summary: str = Field("", description="What it rests on and what to do next, in at most two sentences and 40 words.")
    arms: list[ArmView] = Field(description="The first is `base`.")
    conclusion: ConclusionView | None
    ensemble: EnsembleView | None = None
    sizes: list[CurvePointView] | None = Field(
        None, description="Of a learning curve, smallest first: each as soon as all of its trainings have ended."
    )
    forecast: ForecastView | None = None
    no_forecast: str | None = Field(None, description="Why there is no forecast.")
    ledger: StudyLedgerView
    error: JobErrorView | None
    version: int
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status != "running"

    @property
    def winner(self) -> ArmView | None:
        """The arm that the conclusion names."""
        remedy = None if self.conclusion is None else self.conclusion.remedy
        return next((arm for arm in self.arms if remedy is not None and arm.name == remedy), None)

    def find_arms(self, effect: Effect) -> list[str]:
        """Names of the arms that have this effect."""
        return [arm.name for arm in self.arms if arm.difference is not None and arm.difference.effect == effect]


class StudyPage(Page[StudyView]):
    """Part of the caller's studies, newest first; `next` is the `after` of the following part."""


class StudyEstimateView(View):
    """What a study would do, without queueing it."""

    object: Literal["study_estimate"]
    spec: JobSpec
    remedies: list[str]
    splits: Literal["fixed", "resampled"]
    seeds: int
    sizes: list[int] | None = Field(None, description="Of a learning curve: its numbers of training images.")
    jobs: int = Field(description="Trainings of the first look at every arm; of a learning curve, all of them.")
    max_jobs: int = Field(description="Trainings at most.")
    seconds: Figure = Field(description="For the first look; null until a worker has measured its speed.")
    waits_for: str | None = Field(None, description="What it would wait for first; null where it begins at once.")
