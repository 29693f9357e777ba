"""A study: its arms, how they compare, and its conclusion."""

from typing import Any, Literal

from pydantic import Field

from heldout.metrics import Measure
from heldout.spec.job import JobSpec
from heldout.stored.results import Figure
from heldout.studies.spec import Extent
from heldout.views.base import ErrorView, Page, Time, View
from heldout.views.job import DatasetReference
from heldout.views.judge import JudgeView
from heldout.views.recorded_study import RecordedView
from heldout.views.study_figures import (
    MIN_SEEDS_OF_RANGE,
    Answer,
    ArmFiguresView,
    DifferenceView,
    Effect,
    Interval,
    get_figure,
)

StudyStatus = Literal["running", "succeeded", "failed", "cancelled"]
ArmStatus = Literal["racing", "dropped", "finished"]
ConclusionKind = Literal["cure", "nothing_helped", "cannot_tell", "better", "worse", "as_good"]


class ProvisionalView(View):
    """Means over the trainings of an arm that have ended so far. Nothing can be concluded from them yet."""

    seeds: int
    accuracy: Figure
    loss: Figure
    objective: Figure = Field(None, description="The study's `objective`, if that is neither accuracy nor loss.")

    def get(self, measure: Measure) -> float | None:
        """Return the mean of a measure."""
        found: float | None = get_figure(self, measure)
        return found


class ArmView(View):
    """One remedy, or the base, with its trainings."""

    name: str
    patch: dict[str, Any] = Field(
        description="Merge patch (RFC 7396) of the study's `spec`; empty for the base. For trainings that run "
        "elsewhere, their parameters."
    )
    status: ArmStatus
    jobs: list[str] = Field(description="Ids of its trainings, by seed.")
    seeds: int = Field(description="How many seeds have been compared.")
    train: ArmFiguresView | None = Field(description="On the training images.")
    validation: ArmFiguresView | None
    difference: DifferenceView | None = Field(description="null for the base, and until both have been compared.")
    why: str | None = Field(None, description="Why it was dropped, or a note about it.")
    answer: Answer | None = Field(None, description="Whether it is as good as the base; null unless that is asked.")
    parameters: int | None = Field(None, description="Of its network; null if unknown.")
    seconds: Figure = Field(None, description="Mean time of its trainings; null until one has ended.")
    provisional: ProvisionalView | None = Field(
        None, description="On the validation images, until `validation` is there: means so far, without intervals."
    )

    @property
    def has_too_few_seeds(self) -> bool:
        """Whether it was compared on too few seeds for a range."""
        return self.difference is not None and self.seeds < MIN_SEEDS_OF_RANGE

    @property
    def base_loss(self) -> float | None:
        """The base's loss on the same seeds; null if nothing was compared."""
        if self.difference is None or self.difference.loss is None or self.validation is None:
            return None
        return None if self.validation.loss is None else self.validation.loss - self.difference.loss


class TestFiguresView(ArmFiguresView):
    """One arm on the test split: means over its seeds."""

    count: int


class StudyTestView(View):
    """Base and winner on the test split, which had no part in any choice."""

    base: TestFiguresView
    winner: TestFiguresView
    difference: DifferenceView


class NeedsView(View):
    """What would probably allow an answer: more seeds alone, otherwise more images alone, otherwise both.

    A number is null if no more are needed, and both are if no reasonable number would be enough.
    """

    seeds: int | None = None
    images: int | None = None


class GapClosedView(View):
    """How much of the accuracy gap between training and held-out images the winner closes, by means over seeds."""

    to: Literal["validation", "test"] = Field(description="`test` if base and winner were measured there.")
    base: float = Field(description="Training accuracy minus held-out accuracy of the base.")
    winner: float = Field(description="The same for the winner: what remains.")
    explanation: str


class ConclusionView(View):
    """The answer of a study."""

    kind: ConclusionKind = Field(
        description="`better` and `worse` are answers about recorded trainings: beyond chance, but unconfirmed. "
        "`worse` means that every arm is. `as_good`: at least one arm is, within the `margin`."
    )
    remedy: str | None = Field(
        description="The winner's name, or the smallest arm that is as good; null unless `kind` is `cure`, `better` or "
        "`as_good`."
    )
    headline: str = Field("", description="The study's headline.")
    explanation: str
    test: StudyTestView | None = Field(None, description="null without a winner or a test split.")
    gap: GapClosedView | None = Field(None, description="null without a winner, and in studies of earlier releases.")
    needs: NeedsView | None = Field(None, description="null unless `kind` is `cannot_tell`.")
    undecided: list[str] = Field([], description="Remedies that get more seeds if the study is continued.")
    refit: str | None = Field(
        None,
        description="Job that trains the winner on train and validation together: the model to deploy. It is measured "
        "on neither validation nor test.",
    )


class EnsembleFiguresView(View):
    """The mean of the probabilities of all seeds of an arm."""

    members: int
    validation: TestFiguresView | None = Field(
        description="null if each member was validated on its own fold, since no image is then new to all of them."
    )
    test: TestFiguresView | None


class EnsembleView(View):
    """Base and winner as ensembles of their seeds."""

    base: EnsembleFiguresView
    winner: EnsembleFiguresView
    explanation: str | None = Field(
        None, description="Where the ensemble of the base is right more often than one winner: says so."
    )


class StudyLedgerView(View):
    """The cost of a study, and how often it looked at held-out labels."""

    validation_reads: int
    test_reads: int
    jobs: int
    seconds: float = Field(description="Total of its trainings.")


class StudyProgress(View):
    """Trainings done, and the number planned so far."""

    jobs: int
    done: int
    eta_s: Figure = Field(description="How long it still takes at most, by its pace so far. It never grows.")


class BudgetView(View):
    """Upper limits of the cost; null means no limit."""

    jobs: int | None
    seconds: float | None


class CurvePointView(View):
    """The error of networks trained on this many images."""

    images: int
    error: float = Field(description="1 − validation accuracy, or 1 − the `objective`; mean over the seeds.")
    interval: Interval = Field(description="Interval of the error; right in 95 of 100 cases.")
    loss: Figure = Field(None, description="Validation loss, mean over the seeds.")
    jobs: list[str] = Field([], description="Its trainings, by seed.")


class ForecastView(View):
    """The error expected with twice as many images."""

    images: int
    error: float
    interval: Interval = Field(description="Interval of the error on unseen images; right in 90 of 100 cases.")
    method: Literal["power_law", "local"] | None = Field(
        None, description="How the curve is continued: by one law for all sizes, or from its last sizes only."
    )
    explanation: str = ""


class StudyView(View):
    """A study. `version` grows with every change of this body and is its ETag."""

    id: str
    object: Literal["study"]
    name: str
    kind: Literal["remedies", "learning_curve", "external", "recorded", "judge"]
    status: StudyStatus
    spec: JobSpec | None = Field(
        description="The base: the spec of its jobs, except for seed and fold; null for trainings that run elsewhere."
    )
    dataset: DatasetReference | None = Field(description="null for trainings that run elsewhere.")
    job: str | None = Field(description="The job whose spec is the base.")
    remedies: list[str]
    extent: Extent = Field("full", description="`first`: it gives a first answer, and can be continued without a cure.")
    left_out: list[str] = Field([], description="Remedies that continuing it would add.")
    warnings: list[str] = Field([], description="What keeps it from telling anything, or from closing the whole gap.")
    can_continue: bool = Field(False, description="Whether `POST …/continue` would tell more.")
    seeds: int
    splits: Literal["fixed", "resampled"]
    objective: Measure | None = Field(None, description="The measure that decides; null: either of them.")
    margin: float | None = Field(
        None, description="By how much an arm may be worse and still be as good; null if they shall be better."
    )
    costs: list[list[float]] | None = Field(
        None, description="Costs of each answer to each label, for `objective: cost`."
    )
    group_column: str | None = Field(
        None, description="The column whose values are the groups, for `objective: worst_group`."
    )
    data: Literal["fix", "as_they_are"] | None = Field(
        None, description="What its order said about faults of the job's data."
    )
    budget: BudgetView
    metadata: dict[str, str] = Field({}, description="Also set on each of its jobs.")
    waits_for: str | None = Field(None, description="What it is waiting for before it can start; null once started.")
    progress: StudyProgress
    headline: str = Field("", description="The answer, in at most 12 words.")
    summary: str = Field("", description="The reason and what to do next, in at most two sentences and 40 words.")
    arms: list[ArmView] = Field(description="The first is `base`.")
    conclusion: ConclusionView | None
    ensemble: EnsembleView | None = None
    sizes: list[CurvePointView] | None = Field(
        None, description="Sizes of a learning curve, smallest first, each once all of its trainings have ended."
    )
    forecast: ForecastView | None = None
    no_forecast: str | None = Field(None, description="Why there is no forecast.")
    recorded: RecordedView | None = Field(None, description="null unless `kind` is `recorded`.")
    judge: JudgeView | None = Field(None, description="null unless `kind` is `judge`.")
    ledger: StudyLedgerView
    error: ErrorView | None
    version: int
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @property
    def metric(self) -> str | None:
        """The name of the final figures of recorded runs; None for answers to images."""
        return None if self.recorded is None else self.recorded.metric

    @property
    def only_measure(self) -> Measure | None:
        """The measure that is compared; None for both. Final figures are one of them."""
        if self.recorded is None or self.metric is None:
            return self.objective
        return "accuracy" if self.recorded.better == "higher" else "loss"

    @property
    def has_ended(self) -> bool:
        """Whether the study has ended and no longer changes."""
        return self.status != "running"

    @property
    def winner(self) -> ArmView | None:
        """The arm that the conclusion names."""
        remedy = None if self.conclusion is None else self.conclusion.remedy
        return next((arm for arm in self.arms if remedy is not None and arm.name == remedy), None)

    def find_arms(self, effect: Effect) -> list[str]:
        """List the names of arms with this effect."""
        return [arm.name for arm in self.arms if arm.difference is not None and arm.difference.effect == effect]


class StudyPage(Page[StudyView]):
    """A page of the caller's studies, newest first; `next` is the `after` of the next page."""


class StudyEstimateView(View):
    """What a study would do, without queueing it."""

    object: Literal["study_estimate"]
    spec: JobSpec
    remedies: list[str]
    splits: Literal["fixed", "resampled"]
    seeds: int
    sizes: list[int] | None = Field(None, description="For a learning curve: numbers of training images.")
    extent: Extent = Field("full", description="`first`: a first answer, which can be continued.")
    left_out: list[str] = Field([], description="Remedies that continuing the study would add.")
    jobs: int = Field(description="Trainings for the first look at every arm; for a learning curve, all trainings.")
    max_jobs: int = Field(
        description="Upper limit of trainings until the answer. A cure is then trained once more, on all images."
    )
    warnings: list[str] = Field([], description="What keeps it from telling anything, or from closing the whole gap.")
    seconds: Figure = Field(description="Time for the first look; null until a worker has measured its speed.")
    waits_for: str | None = Field(None, description="What it would have to wait for first; null if it starts at once.")
