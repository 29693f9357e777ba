"""The state of a study for its decisions: its definition, its trainings' results, and the next steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import nan
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.answers.metrics import Contributions
from heldout.lifecycle.job import JobStatus
from heldout.metrics import MEASURES, Measure
from heldout.views.study import ArmView, ConclusionView, CurvePointView, ForecastView


class Purpose(StrEnum):
    """The purpose of one of a study's trainings."""

    RACE = "race"  # it is compared with those of other arms
    TUNE = "tune"  # a candidate of a search, which is judged by other seeds
    REFIT = "refit"  # the winner, trained on train and validation together


@dataclass(frozen=True, order=True)
class RunKey:
    """The key of a study's training: there is only ever one job for each.

    fold, fold_seed: as in the spec's `validation`; None for the dataset's own split.
    variant: which candidate of a search; 0 elsewhere. For a learning curve: the number of training images.
    """

    arm: str
    purpose: Purpose
    seed: int
    fold: int | None = None
    fold_seed: int = 0
    variant: int = 0


class Means(NamedTuple):
    """The accuracy and loss of one training on its validation images, and the study's objective if it is another."""

    accuracy: float
    loss: float
    objective: float | None = None


@dataclass(frozen=True)
class Scores:
    """The answers of one training's kept weights to its validation images, and what is known of its training images.

    losses: (images,) cross-entropy in nats. right: (images,). images: (images,) positions in the dataset, ascending.
    objective: what each image contributes to the objective, in the same order; None if that is accuracy, loss or none.
    """

    images: NDArray[np.int32]
    losses: NDArray[np.float32]
    right: NDArray[np.bool_]
    train_loss: float = nan
    train_accuracy: float = nan
    train_images: int = 0
    kept_epoch: int = 0
    objective: Contributions | None = None

    @property
    def means(self) -> Means:
        """The means over the images."""
        objective = None if self.objective is None else self.objective.value
        return Means(float(self.right.mean()), float(self.losses.mean()), objective)


@dataclass(frozen=True)
class StudyRun:
    """One training of a study; `scores` if it has succeeded."""

    key: RunKey
    job: str
    status: JobStatus
    scores: Scores | None = None
    seconds: float = 0.0
    error: str | None = None  # its failure code


@dataclass(frozen=True)
class Arm:
    """One remedy, or the base, which comes first.

    parts: for a combination `a+b`, the arms that it is compared with besides the base.
    candidates: for a search, the patches that it chooses among; the arm's own patch follows from the choice.
    chooses_alone: whether its trainings choose their epochs by validation images, and those of the base do not.
    """

    name: str
    patch: Mapping[str, Any]
    parts: tuple[str, ...] = ()
    candidates: tuple[Mapping[str, Any], ...] = ()
    chooses_alone: bool = False

    @property
    def size(self) -> int:
        """The number of its network's parameters; 0 if it is unknown."""
        return 0


@dataclass(frozen=True)
class TestScores:
    """The results of the evaluation of base and winner: for each of their jobs, (images,) of the test split."""

    losses: Mapping[str, NDArray[np.float32]]
    right: Mapping[str, NDArray[np.bool_]]
    objective: Mapping[str, Contributions] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedRun:
    """A training that was done before the study. seed: None if it is unknown. figure: its final figure, if only that
    is known.
    """

    name: str
    seed: int | None
    figure: float | None = None


@dataclass(frozen=True)
class Recording:
    """Trainings that were done before the study, by arm, the base first.

    metric, better, images: of final figures; how many images they were measured on, if known.
    chooses: the units of the half that chooses, see analysis/studies/recording.py.
    """

    runs: Mapping[str, tuple[RecordedRun, ...]]
    chooses: tuple[str, ...]
    metric: str | None = None
    better: Literal["higher", "lower"] = "higher"
    images: int | None = None


StudyKind = Literal["remedies", "learning_curve", "external", "recorded", "judge"]
# Studies of trainings that the service does not run.
ELSEWHERE = ("external", "recorded", "judge")


@dataclass(frozen=True)
class StudyState:
    """Everything that is fixed when a study begins, and its evaluation, if there was one.

    seeds: of the first look. folds: into how many parts train and validation are divided; None for the dataset's own
    split.
    sizes: of a learning curve, numbers of training images, ascending.
    max_jobs, max_seconds: its budget. has_test: whether base and winner can be measured on a test split.
    objective: the measure that decides; None if both accuracy and loss do. costs: of each answer, for `cost`.
    group_column: whose values are the groups of `worst_group`.
    margin: by how much an arm may be worse and still be as good; None if it is asked whether arms are better.
    stages: of a study that gives a first answer and can be continued: how many of the arms, from the first, each stage
    compares. Empty if all looks are planned at once. left_out: names of remedies that a continuation would add.
    """

    kind: StudyKind
    arms: tuple[Arm, ...]
    seeds: int
    folds: int | None
    train_images: int
    validation_images: int
    has_test: bool
    sizes: tuple[int, ...] = ()
    max_jobs: int | None = None
    max_seconds: float | None = None
    tested: TestScores | None = None
    test_failed: str | None = None  # why there will be no `tested`
    recording: Recording | None = None  # of a study of recorded trainings
    objective: Measure | None = None
    costs: Sequence[Sequence[float]] | None = None
    group_column: str | None = None
    margin: float | None = None
    stages: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures that are compared. Final figures have one."""
        if self.recording is not None and self.recording.metric is not None:
            return ("accuracy",) if self.recording.better == "higher" else ("loss",)
        return MEASURES if self.objective is None else (self.objective,)

    @property
    def is_first_answer(self) -> bool:
        """Whether more seeds for the same arms would continue it: nothing but its first stage was planned."""
        return len(self.stages) == 1

    @property
    def refits(self) -> int:
        """Trainings of the winner on all images, which the budget includes. Trainings that run elsewhere have none."""
        return 0 if self.kind in ELSEWHERE else 1


def complete_state(state: StudyState, runs: Sequence[StudyRun], *, has_test: bool) -> StudyState:
    """Return the state of a study whose trainings run elsewhere, with what their results say about the images."""
    scores = next((run.scores for run in runs if run.scores is not None), None)
    if scores is None:
        return state
    validation, train = len(scores.images), scores.train_images
    return replace(state, has_test=has_test, validation_images=validation, train_images=train)


@dataclass(frozen=True)
class Refit:
    """The winner's spec for its last training: its patch, for this many epochs, on train and validation together."""

    arm: str
    patch: Mapping[str, Any]
    epochs: int


@dataclass(frozen=True)
class NextSteps:
    """What to do now, and the state of the study. Asking again after it is done returns nothing new.

    submit: missing trainings; patches: of arms whose patch follows from a search.
    planned: trainings in total, as known now; most: if no further arm is dropped.
    evaluate: the jobs of base and of winner, whose models should be measured on the test split; None if not now.
    """

    status: Literal["running", "succeeded", "failed"]
    submit: tuple[RunKey, ...] = ()
    patches: Mapping[str, Mapping[str, Any]] | None = None
    planned: int = 0
    most: int = 0
    evaluate: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    refit: Refit | None = None
    arms: tuple[ArmView, ...] = ()
    conclusion: ConclusionView | None = None
    sizes: tuple[CurvePointView, ...] = ()
    forecast: ForecastView | None = None
    no_forecast: str | None = None
    error: tuple[str, str] | None = None  # code and detail, if it has failed
