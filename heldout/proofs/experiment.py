"""What an experiment is: the trainings that it needs, and the answer that follows from their figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from heldout.proofs import thresholds
from heldout.proofs.figures import Effect, Figures, compare
from heldout.proofs.known import Known
from heldout.remedies.change import RemedyBase
from heldout.statistics import compute_wilson_interval

Status = Literal["proven", "refuted", "open"]
SplitsAgain = Literal["train_and_validation", "all"]

# The job's own training, and the same spec with other seeds.
BASE = "base"


@dataclass(frozen=True)
class Subject:
    """The job whose verdict is to be proven.

    spec: complete, as JSON. counts: the images of each split that it uses. figures: of its kept weights.
    probabilities: of each cause, by the code of its finding, and of `healthy`. They add up to one.
    patches: of the first remedies of the first cause, by name.
    leave_out: positions of training images that may do harm, by why: `copies`, `suspects`.
    measured: by cause: how much a figure of the job changes once it is undone, with its 95% interval, as the job itself
        has measured it on the same images.
    can_continue: whether its last state is kept, and more epochs continue it.
    tiers: of the causes that the diagnosis lists, in its order.
    suspected_split: the held-out split whose images may be of another kind; None if no finding names one.
    has_high_rate: whether its learning rate is far above its optimizer's usual one.
    faults: what the diagnosis names inside the network, in its order, with the patches of remedies by name; empty if
        only the Keras code can change it.
    """

    spec: Mapping[str, Any]
    counts: Mapping[str, int]
    figures: Figures
    verdict: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    patches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leave_out: Mapping[str, Sequence[int]] = field(default_factory=dict)
    measured: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    can_continue: bool = False
    stopped_early: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)
    suspected_split: str | None = None
    has_high_rate: bool = False
    faults: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(**{**stored, "figures": Figures.from_json(stored["figures"])})

    @property
    def base(self) -> RemedyBase:
        return RemedyBase(self.spec, self.counts.get("train"))

    @property
    def training(self) -> Mapping[str, Any]:
        training: Mapping[str, Any] = self.spec["training"]
        return training

    @property
    def known(self) -> Known:
        own = self.figures
        splits = {"train": own.train, "validation": own.validation, "test": own.test}
        counts = {name: split.right_of_all for name, split in splits.items() if split is not None}
        return Known(self.tiers, counts, self.has_high_rate)

    @property
    def only_guesses(self) -> bool:
        """Whether validation images are answered no better than by naming the most frequent class."""
        validation, counts = self.figures.validation, [count for _, count in self.figures.recalls]
        if validation is None or not sum(counts):
            return False
        low, _ = compute_wilson_interval(*validation.right_of_all)
        return low <= max(counts) / sum(counts)

    def is_worse_than_guessing(self, split: str) -> bool:
        """Whether a split is surely answered worse than by guessing, which suggests wrong labels, not other images."""
        counts, classes = self.known.splits.get(split), len(self.figures.recalls)
        return counts is not None and classes > 0 and compute_wilson_interval(*counts)[1] < 1 / classes

    @property
    def train_images(self) -> int:
        limit = self.training.get("train_limit")
        return self.counts["train"] if limit is None else min(limit, self.counts["train"])

    def estimate_work(
        self, *, epochs: int | None = None, images: int | None = None, by: float = 1.0, has_validation: bool = True
    ) -> float:
        """Estimate the work of a training by counting passes, in units of the job's own training."""
        validation = self.counts.get("validation", 0)
        own_epochs = max(1, self.figures.epochs)
        measures_training = self.spec["evaluation"]["train"] == "every_epoch"
        per_own_epoch = thresholds.TRAINING_WORK * self.train_images + validation
        own = own_epochs * (per_own_epoch + self.train_images * measures_training)
        passes = thresholds.TRAINING_WORK * (self.train_images if images is None else images)
        passes += validation * has_validation
        work: float = by * (own_epochs if epochs is None else epochs) * passes / own
        return max(thresholds.MIN_WORK, work)


@dataclass(frozen=True)
class Variant:
    """A training that differs from the job's.

    patch: a merge patch of the job's spec. continues: whether it continues the job's last state. seed: added to the
    job's seed. work: in units of the job's own training.
    splits_again: `all` images are divided into new splits, or `train_and_validation`. leave_out: positions of training
    images that it does without.
    """

    key: str
    patch: Mapping[str, Any]
    work: float
    continues: bool = False
    seed: int = 0
    splits_again: SplitsAgain | None = None
    leave_out: Sequence[int] = ()

    @property
    def reads_test(self) -> bool:
        """Whether test labels of the dataset are used."""
        return self.splits_again == "all"


class Evidence:
    """The figures of the trainings of a proof, by key. A training that failed has none."""

    def __init__(self, subject: Subject, done: Mapping[str, Figures | None]) -> None:
        self._done: Mapping[str, Figures | None] = {**done, BASE: subject.figures}

    def get(self, key: str) -> Figures | None:
        return self._done.get(key)

    def has(self, key: str) -> bool:
        """Whether the training has ended."""
        return key in self._done

    def compare(self, key: str, base: str = BASE) -> Effect | None:
        """By how much the variant changes validation accuracy, over all seeds that both were trained with."""
        pairs = []
        for suffix in ("", "+1", "+2"):
            one, other = self.get(f"{base}{suffix}"), self.get(f"{key}{suffix}")
            if one is not None and other is not None:
                pairs.append((one, other))
        return compare(pairs)


@dataclass(frozen=True)
class Judgement:
    """What follows from an experiment.

    answers: for each cause that it decides: whether that is proven or refuted.
    sentence: what was tried and what came of it, with figures.
    points, interval: the effect that decides; accuracy as a fraction.
    """

    status: Status
    sentence: str
    answers: Mapping[str, Status] = field(default_factory=dict)
    points: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Experiment:
    """One way to decide between causes.

    title, question: as people read them.
    settles: for each cause, the probability that the experiment proves or refutes it.
    make_variants: the trainings that it needs; empty if it cannot be tried. why_not: why, in one sentence.
    judge: from the figures to the answer.
    repeats: whether an effect within the noise of seeds is measured again with a second seed.
    sign: 1 if accuracy rises where it proves something, -1 if it falls.
    applies: for one that needs no training: whether the job has measured what it reads.
    """

    name: str
    title: str
    question: str
    settles: Mapping[str, float]
    make_variants: Callable[[Subject], Sequence[Variant]]
    judge: Callable[[Subject, Evidence], Judgement]
    repeats: bool = True
    sign: int = 1
    applies: Callable[[Subject], bool] = lambda subject: False
    why_not: str = "This job's spec leaves nothing to change."

    def list_missing(self, subject: Subject, done: Mapping[str, Figures | None]) -> list[Variant]:
        """List the trainings that the experiment still needs, given those that have ended."""
        variants, evidence = self.make_variants(subject), Evidence(subject, done)
        missing = [variant for variant in variants if not evidence.has(variant.key)]
        if missing or not self.repeats:
            return missing
        again = [variant for variant in variants if _is_within_noise(evidence, variant, self.sign)]
        if not again:
            return []
        seeded = [_reseed(subject, variant) for variant in again]
        other_base = Variant(f"{BASE}+1", {}, subject.estimate_work(), seed=1)
        return [variant for variant in (other_base, *seeded) if not evidence.has(variant.key)]


def _is_within_noise(evidence: Evidence, variant: Variant, sign: int) -> bool:
    effect = evidence.compare(variant.key)
    if effect is None or effect.seeds > 1:
        return False
    return not (effect.is_gain(sign) or effect.is_no_gain(sign) or effect.is_gain(-sign))


def _reseed(subject: Subject, variant: Variant) -> Variant:
    work = variant.work + 1 if variant.continues else variant.work
    return replace(variant, key=f"{variant.key}+1", work=work, seed=1, continues=False)


def conclude(
    effect: Effect | None, answers_of_gain: Mapping[str, Status], answers_of_none: Mapping[str, Status], sign: int = 1
) -> tuple[Status, Mapping[str, Status]]:
    """Turn an effect into answers: what a sure gain (or loss, with -1) means, and what its sure absence means."""
    if effect is not None and effect.is_gain(sign):
        return "proven", answers_of_gain
    if effect is not None and effect.is_no_gain(sign):
        return "refuted", answers_of_none
    return "open", {}
