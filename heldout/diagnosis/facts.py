"""Everything known about a training, computed once and read by every rule, and the size of effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.bounds import Bounds
from heldout.diagnosis.curves import Curves, choose_curves
from heldout.diagnosis.evaluation import Evaluation, SplitFigures, compute_skill
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.gap import Gap, compute_gap
from heldout.diagnosis.history import History
from heldout.fixes.bodies import Body
from heldout.fixes.offers import DROP_COPIES, RESPLIT, make_offers
from heldout.network_check.checked import Note
from heldout.network_check.described import check_trained
from heldout.remedies.change import RemedyBase, Spec
from heldout.statistics import compute_newcombe_interval, compute_paired_interval
from heldout.stored.audit import AuditFinding, SplitLabels
from heldout.stored.evaluation import LastEpochScores
from heldout.stored.gap import Calibration, HeldOutCopies, SortedAnswers, StoredGap, Tally
from heldout.stored.results import Preprocessing
from heldout.words import percent


@dataclass(frozen=True)
class Effect:
    """Absolute change in accuracy (a fraction). interval: of 95%; None if unknown."""

    size: float
    interval: Bounds | None

    @classmethod
    def of(cls, change: float, interval: Bounds | None) -> "Effect":
        """The effect of a change in either direction."""
        if change >= 0 or interval is None:
            return cls(abs(change), interval)
        return cls(-change, (-interval[1], -interval[0]))

    @property
    def is_sure(self) -> bool:
        """Whether it is clearly at least one point."""
        return self.interval is not None and self.interval[0] >= thresholds.MIN_SURE_EFFECT

    @property
    def is_likely(self) -> bool:
        """Whether it is three points or more, and probably above zero."""
        if self.interval is None or self.size < thresholds.MIN_LIKELY_EFFECT:
            return False
        # The lower bound at the lower confidence, assuming a normal distribution.
        below = (self.size - self.interval[0]) / _compute_deviations(thresholds.TERM_CONFIDENCE)
        return self.size - below * _compute_deviations(thresholds.LIKELY_CONFIDENCE) > 0

    @property
    def matters(self) -> bool:
        return self.is_sure or self.is_likely

    @property
    def is_negligible(self) -> bool:
        """Whether it is clearly below one point."""
        return self.interval is not None and self.interval[1] < thresholds.MIN_SURE_EFFECT


def _compute_deviations(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


@dataclass(frozen=True)
class NeededPreprocessing:
    """A pixel change with which the model clearly gets more training images right.

    before, after: results on each split without the change and with it.
    """

    change: Preprocessing
    before: Mapping[str, SplitFigures]
    after: Mapping[str, SplitFigures]

    @property
    def explanation(self) -> str:
        split = "test" if "test" in self.before else "train"
        images = "test images" if split == "test" else "training images"
        low, high = (f"{value:g}" for value in self.change.value_range)
        before, after = (_format_figures(figures[split]) for figures in (self.before, self.after))
        return (
            f"The model was trained on different pixel values than the dataset has; those range from {low} to {high}. "
            f"It works best with {self.change.in_words}. It answers {before} of the {images} correctly with the "
            f"dataset's pixels as they are, and {after} with these. All other figures here use these pixels."
        )

    @property
    def advice(self) -> str:
        return (
            "Prepare images the same way wherever the model is used, or make it part of the model: "
            f"{self._describe_layers()} before its first layer."
        )

    def _describe_layers(self) -> str:
        """Name the Keras layers that do the same."""
        factors, offsets = self.change.factor, self.change.offset
        parts = ["a reversal of the channels"] if self.change.reversed_channels else []
        if set(factors) != {1.0} or set(offsets) != {0.0}:
            scale, offset = (_format_number(factors), _format_number(offsets))
            parts.append(f"`Rescaling(scale={scale}, offset={offset})`")
        return " and ".join(parts)

    @property
    def evidence(self) -> dict[str, Any]:
        splits = [name for name in self.after if name in self.before]
        return {
            "change": self.change.kind,
            "reversed_channels": self.change.reversed_channels,
            "factor": list(self.change.factor),
            "offset": list(self.change.offset),
            **{f"{name}_accuracy": self.after[name].accuracy for name in splits},
            **{f"{name}_accuracy_as_given": self.before[name].accuracy for name in splits},
        }


def _format_figures(figures: SplitFigures) -> str:
    """`97.5% (loss 0.08)`."""
    return percent(figures.accuracy) + ("" if figures.loss is None else f" (loss {figures.loss:.3g})")


def _format_number(values: tuple[float, ...]) -> str:
    """A single number if all channels share it, otherwise a list."""
    texts = [f"{value:z.6g}" for value in values]  # no minus before a zero
    return texts[0] if len(set(values)) == 1 else f"[{', '.join(texts)}]"


@dataclass(frozen=True)
class Facts:
    """Curves, the kept weights' results on each split, and what the audit found.

    base: the job's spec, as remedies change it; None if unknown.
    classes: class names; empty if unknown.
    last: the last epoch's weights compared with the kept ones, if earlier ones were kept.
    gap: figures for the terms of the gap; None if not measured.
    calibration: how well probabilities match reality; None if not measured.
    budget: the terms, not yet assigned to findings; None if test was not measured.
    audited: the audit's findings, by the code that a diagnosis uses.
    notes: what looks wrong in the layers of the job's network.
    labels: how many labels of each split are wrong, if a search can tell; otherwise empty.
    preprocessing: the pixel change without which an uploaded model does not work; None for other trainings.
    knows_training, knows_validation: whether most images of the split are answered correctly, beyond guessing; None if
        unknown.
    """

    curves: Curves
    base: RemedyBase | None
    classes: Sequence[str]
    train: SplitFigures | None
    validation: SplitFigures | None
    test: SplitFigures | None
    last: LastEpochScores | None
    gap: StoredGap | None
    calibration: Calibration | None
    budget: Gap | None
    audited: Mapping[str, Sequence[Finding]]
    preprocessing: NeededPreprocessing | None
    knows_training: bool | None
    knows_validation: bool | None
    labels: Mapping[str, SplitLabels] = field(default_factory=dict)
    notes: Sequence[Note] = ()

    @property
    def spec(self) -> Spec | None:
        return None if self.base is None else self.base.spec

    @property
    def has_answers(self) -> bool:
        """Whether the results on at least one split are known."""
        return any(figures is not None for figures in (self.train, self.validation, self.test))

    @property
    def has_answers_alone(self) -> bool:
        """Whether results are known, but no curves of the training."""
        return self.has_answers and not self.curves.history.epoch_numbers

    @property
    def training_answers(self) -> SortedAnswers | None:
        """The earliest answers to training images that were measured, since these have memorized the fewest labels."""
        return None if self.gap is None else self.gap.first_training_answers

    @property
    def kept_epoch(self) -> int | None:
        """The epoch of the kept weights."""
        return None if self.gap is None else self.gap.kept_epoch

    @property
    def most_copied(self) -> tuple[str, HeldOutCopies, Tally] | None:
        """The held-out split whose accuracy copies change most: its name, its two parts, and the whole split."""
        gap = self.gap
        if gap is None:
            return None
        splits = (("test", gap.test_copies, gap.test), ("validation", gap.validation_copies, gap.validation))
        found = [
            (name, copies, whole)
            for name, copies, whole in splits
            if copies is not None and copies.copied is not None and whole is not None
        ]

        def compute_flattery(split: tuple[str, HeldOutCopies, Tally]) -> float:
            _, copies, whole = split
            return 1.0 if copies.clean is None else abs(whole.accuracy - copies.clean.accuracy)

        return max(found, key=compute_flattery, default=None)

    def get_renamed(self, finding: Finding, split: str) -> tuple[float, float | None]:
        """Accuracy with the labels as they are and with classes renamed, from the finding or the measured gap."""
        evidence, gap = finding.evidence, self.budget
        if f"{split}_accuracy_renamed" in evidence:
            return float(evidence[f"{split}_accuracy"]), float(evidence[f"{split}_accuracy_renamed"])
        if gap is None or gap.stored.labels is None or split != "test":
            return float(evidence.get(f"{split}_accuracy", 0.0)), None
        return gap.pixels_undone.accuracy, gap.labels_renamed.accuracy

    def has_other_scale(self, split: str) -> bool:
        """Whether the audit found that pixel values of the split have a different meaning than those of training."""
        return any(finding.evidence.get("split") == split for finding in self.audited.get("scale_mismatch", ()))

    def is_undone(self, split: str) -> bool:
        """Whether undoing the pixel change of the split makes answers better, beyond chance."""
        pixels = None if self.gap is None else self.gap.get_pixels(split)
        if pixels is None:
            return False
        change = pixels.change
        interval = compute_paired_interval(change.gained, change.lost, change.count)
        return Effect((change.gained - change.lost) / change.count, interval).matters


def collect_facts(
    history: History,
    audit: Sequence[AuditFinding] | None,
    evaluation: Evaluation | None,
    base: RemedyBase | None,
    labels: Mapping[str, SplitLabels] | None = None,
    group_rule: str | None = None,
) -> Facts:
    measured = evaluation or Evaluation({})
    train, validation, test = (measured.get(split) for split in ("train", "validation", "test"))
    return Facts(
        curves=choose_curves(history, evaluation),
        base=base,
        classes=measured.classes,
        train=train,
        validation=validation,
        test=test,
        last=measured.last,
        gap=measured.gap,
        calibration=measured.calibration or (None if measured.gap is None else measured.gap.calibration),
        budget=None if measured.gap is None else compute_gap(measured.gap, group_rule),
        audited={} if audit is None else group_findings_by_code(audit, base),
        preprocessing=None
        if measured.preprocessing is None
        else NeededPreprocessing(measured.preprocessing, before=measured.as_given, after=measured.splits),
        knows_training=_knows_training(train, validation, len(measured.classes)),
        knows_validation=_knows(validation, len(measured.classes)),
        labels=labels or {},
        notes=() if base is None else check_trained(base.spec, base.facts, len(measured.classes) or None),
    )


def _knows_training(train: SplitFigures | None, validation: SplitFigures | None, classes: int) -> bool | None:
    """Much better results on training than on validation images also show that the network is large enough."""
    if train is None or validation is None or classes < 2:
        return None
    return bool(_knows(train, classes)) or (
        compute_newcombe_interval(train.counts, validation.counts)[0] > thresholds.MIN_BETTER_ON_TRAINING
    )


def _knows(figures: SplitFigures | None, classes: int) -> bool | None:
    if figures is None or not classes:
        return None
    return compute_skill(figures.accuracy, 1 / classes) >= thresholds.MIN_KNOWN_SKILL


# From the audit's codes to the diagnosis' codes. Other audit findings do not affect the comparison of splits.
CODE_OF_AUDIT: Mapping[str, str] = {
    "leakage": "leakage",
    "group_across_splits": "leakage",
    "label_conflicts": "label_conflicts",
    "class_imbalance": "class_imbalance",
    "class_shift": "split_shift",
    "scale_mismatch": "scale_mismatch",
    "inverted_values": "scale_mismatch",
    "channel_order_mismatch": "split_shift",
    "orientation_mismatch": "split_shift",
    "label_order_mismatch": "label_order_mismatch",
    "split_shift": "split_shift",
    "test_too_small": "test_too_small",
}


def group_findings_by_code(audit: Sequence[AuditFinding], base: RemedyBase | None) -> dict[str, list[Finding]]:
    """The audit's findings that can explain a training's figures, by the diagnosis' codes."""
    found: dict[str, list[Finding]] = {}
    for audited, fix in zip(audit, make_offers(audit), strict=True):
        code = CODE_OF_AUDIT.get(audited.code)
        if audited.code == "class_missing":
            # Without training images it is an extreme imbalance; without test images it cannot be measured.
            code = "class_imbalance" if "train" in audited.numbers else "test_too_small"
        if code is not None:
            if audited.code == "leakage" and fix == RESPLIT:
                fix = dict(DROP_COPIES)  # `prefer_resplit` judges by what was measured, too
            found.setdefault(code, []).append(_make_finding(code, audited, base, fix))
    return found


def _make_finding(code: str, found: AuditFinding, base: RemedyBase | None, fix: Body | None) -> Finding:
    weights = remedies.suggest(base, "class_weights") if found.code == "class_imbalance" else ()
    return Finding(
        code,
        _choose_severity(found, None if base is None else base.spec),
        found.explanation,
        {"audit": found.code, **found.numbers},
        (*weights, *remedies.suggest_data_fix(found.what_to_do, fix)),
    )


def _choose_severity(found: AuditFinding, spec: Spec | None) -> Severity:
    """Lower the severity of what a dataset has but a training may not: a class that is weighted, or not very rare."""
    numbers = found.numbers
    if found.code == "class_imbalance" and (
        remedies.weighs_classes(spec)
        or numbers["smallest"]["count"] >= thresholds.MIN_CLASS_BALANCE * numbers["largest"]["count"]
    ):
        return "info"
    if found.code == "class_missing" and not {"train", "test"} & set(numbers):
        return "info"
    return found.severity
