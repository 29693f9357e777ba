"""All that is known of a training, computed once; every rule reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heldout.diagnosis.audited import findings_by_code
from heldout.diagnosis.curves import Curves, curves_of
from heldout.diagnosis.evaluation import Evaluation, LastEpoch, SplitFigures, skill_of
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.gap.budget import Gap, gap_of
from heldout.diagnosis.history import History
from heldout.diagnosis.preprocessing import NeededPreprocessing
from heldout.diagnosis.thresholds import MIN_BETTER_ON_TRAINING, MIN_KNOWN_SKILL
from heldout.remedies.change import Spec
from heldout.statistics.intervals import newcombe_interval
from heldout.stored.audit import AuditFinding
from heldout.stored.gap import Calibration, StoredGap
from heldout.stored.suspects import SplitLabels


@dataclass(frozen=True)
class Facts:
    """Curves, the kept weights' figures on each split, and what the audit found.

    classes: their names; empty where they are not known.
    last: the last epoch's weights beside the kept ones, if others were kept.
    gap: what the terms of the gap are made of; None where it was not measured.
    calibration: how true probabilities are; None where that was not measured.
    budget: the terms, not yet attributed to findings; None where test was not measured.
    audited: the audit's findings by the code of a diagnosis.
    labels: how many labels of each split are wrong, by a search that can tell; empty where none has said so.
    preprocessing: what had to be done to the pixels before an uploaded model understood them; None of other trainings.
    knows_training, knows_validation: whether most images of the split are answered rightly, beyond guessing; None where
        that is not known.
    """

    curves: Curves
    spec: Spec | None
    classes: Sequence[str]
    train: SplitFigures | None
    validation: SplitFigures | None
    test: SplitFigures | None
    last: LastEpoch | None
    gap: StoredGap | None
    calibration: Calibration | None
    budget: Gap | None
    audited: Mapping[str, Sequence[Finding]]
    preprocessing: NeededPreprocessing | None
    knows_training: bool | None
    knows_validation: bool | None
    labels: Mapping[str, SplitLabels] = field(default_factory=dict)

    @property
    def has_answers(self) -> bool:
        """Whether it is known how many images of some split are answered rightly."""
        return any(figures is not None for figures in (self.train, self.validation, self.test))

    @property
    def has_answers_alone(self) -> bool:
        """Whether that is known, and no course of a training."""
        return self.has_answers and not self.curves.history.epoch_numbers


def facts_of(
    history: History,
    audit: Sequence[AuditFinding] | None,
    evaluation: Evaluation | None,
    spec: Spec | None,
    labels: Mapping[str, SplitLabels] | None = None,
) -> Facts:
    measured = evaluation or Evaluation({})
    train, validation, test = (measured.get(split) for split in ("train", "validation", "test"))
    return Facts(
        curves=curves_of(history, evaluation),
        spec=spec,
        classes=measured.classes,
        train=train,
        validation=validation,
        test=test,
        last=measured.last,
        gap=measured.gap,
        calibration=measured.calibration or (None if measured.gap is None else measured.gap.calibration),
        budget=None if measured.gap is None else gap_of(measured.gap),
        audited={} if audit is None else findings_by_code(audit, spec),
        preprocessing=None
        if measured.preprocessing is None
        else NeededPreprocessing(measured.preprocessing, before=measured.as_given, after=measured.splits),
        knows_training=_knows_training(train, validation, len(measured.classes)),
        knows_validation=_knows(validation, len(measured.classes)),
        labels=labels or {},
    )


def _knows_training(train: SplitFigures | None, validation: SplitFigures | None, classes: int) -> bool | None:
    """Much better results on training than on validation images show that capacity is not lacking."""
    if train is None or validation is None or classes < 2:
        return None
    return bool(_knows(train, classes)) or (
        newcombe_interval(train.counts, validation.counts)[0] > MIN_BETTER_ON_TRAINING
    )


def _knows(figures: SplitFigures | None, classes: int) -> bool | None:
    if figures is None or not classes:
        return None
    return skill_of(figures.accuracy, 1 / classes) >= MIN_KNOWN_SKILL
