"""The terms of a gap, which add up to the difference between training and test.

Terms of accuracy add up to training minus test, those of the loss to test minus training. A term is positive if it
widens the gap. docs/explanation/gap.md explains each one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from heldout.diagnosis.alike_splits import HeldOut, join_alike
from heldout.diagnosis.bounds import (
    Bounds,
    bound_difference,
    bound_paired,
    bound_paired_loss,
    bound_welch,
    include,
    mirror,
    scale,
    span,
    span_if_all,
)
from heldout.diagnosis.copy_labels import is_disproved_by_copies
from heldout.diagnosis.thresholds import (
    IMAGES_OF_FAMILY,
    MAX_FALSE_ALARMS_OF_EPOCHS,
    MAX_FAMILY_OF_CHANCE,
    SURE_CONFIDENCE,
)
from heldout.statistics import includes_0
from heldout.stored.gap import BestEpoch, HeldOutCopies, LabelsRenamed, PairedTally, PixelsUndone, StoredGap, Tally

TermCode = Literal[
    "late_epochs",
    "generalisation",
    "copies_in_validation",
    "image_quality",
    "split_difference",
    "label_order",
    "pixel_values",
    "copies_in_test",
]
# Whether a figure was counted or inferred from others. Of a job, only what lost quality costs is inferred.
How = Literal["measured", "estimated"]


@dataclass(frozen=True)
class Term:
    """One part of a gap: accuracy as a fraction, loss in nats, with 95% intervals.

    The loss is NaN if probabilities are unknown. An interval is None if there are too few images for one.
    finding: the code of the finding that the term belongs to.
    """

    code: TermCode
    accuracy: float
    accuracy_interval: Bounds | None
    loss: float
    loss_interval: Bounds | None
    how: How = "measured"
    finding: str | None = None
    explanation: str = ""

    @property
    def may_be_chance(self) -> bool:
        """Whether neither the accuracy nor the loss is clearly different from 0."""
        is_accuracy_sure = self.accuracy != 0 and not includes_0(self.accuracy_interval)
        is_loss_sure = self.loss != 0 and not includes_0(self.loss_interval)
        return not is_accuracy_sure and not is_loss_sure


@dataclass(frozen=True)
class Gap:
    """The gap between training and test for one set of weights: levels, and terms that are the difference of two.

    stored: the figures that it was computed from.
    family: how many images say as much as one independent image.
    best_by_accuracy, best_by_loss: validation with the weights of the best epoch if later epochs clearly cost
        something, otherwise with the kept weights.
    validation: None if unknown. Then test, without copies and with its classes renamed, replaces the best epochs.
    clean_validation, clean_test: the split without relatives of training images; the whole split if copies are unknown
        or nothing would be left.
    degraded_validation: the clean validation made as blurred, noisy, compressed or small as test, if test is.
    pixels_undone: the clean test after its pixel values were converted to those of training.
    labels_renamed: the same, with its classes renamed.
    heldout: validation and test together, if nothing shows that they differ; None otherwise.
    late_by_accuracy, late_by_loss: the best epochs, if later ones clearly cost something.
    found_groups: the rule of the groups that intervals count although they were not declared; None without.
    terms: in the order from training to test. Those that do not apply are absent.
    """

    stored: StoredGap = field(compare=False)
    family: float
    train: Tally
    best_by_accuracy: Tally
    best_by_loss: Tally
    validation: Tally | None
    clean_validation: Tally | None
    degraded_validation: Tally | None
    labels_renamed: Tally
    pixels_undone: Tally
    clean_test: Tally
    test: Tally
    heldout: HeldOut | None
    late_by_accuracy: BestEpoch | None
    late_by_loss: BestEpoch | None
    found_groups: str | None = None
    terms: tuple[Term, ...] = ()

    @property
    def accuracy(self) -> float:
        return self.train.accuracy - self.test.accuracy

    @property
    def loss(self) -> float:
        return self.test.loss - self.train.loss

    @property
    def may_be_chance(self) -> bool:
        """Whether the difference between training and test accuracy may be chance."""
        test, family = (self.test, self.family) if self.heldout is None else (self.heldout.tally, self.heldout.family)
        return includes_0(bound_difference(self.train, test, family))

    @property
    def may_be_chance_of_single_images(self) -> bool:
        """The same, with 99.9% confidence, if every image were independent of all others."""
        return includes_0(bound_difference(self.train, self.test, 1.0, SURE_CONFIDENCE))

    @property
    def family_of_chance(self) -> int | None:
        """The smallest group of images with which a gap that single images make certain may be chance; None without."""
        if not self.may_be_chance or self.may_be_chance_of_single_images:
            return None
        sizes = range(2, MAX_FAMILY_OF_CHANCE + 1)
        return next((size for size in sizes if includes_0(bound_difference(self.train, self.test, size))), None)

    def find_term(self, code: TermCode) -> Term | None:
        return next((term for term in self.terms if term.code == code), None)


def compute_gap(stored: StoredGap, group_rule: str | None = None) -> Gap | None:
    """Compute the terms, not yet assigned to findings; None if test is unknown.

    Args:
        group_rule: for file names; features of the dataset show that its groups are real.
    """
    declared = stored.family
    if group_rule is not None:
        stored = stored.count_named(group_rule)
    if _is_renaming_disproved(stored):
        stored = stored.model_copy(update={"labels": None})
    if stored.test is None:
        return None
    late_by_accuracy = _find_late(stored.best_by_accuracy, stored, bound_paired)
    late_by_loss = _find_late(stored.best_by_loss, stored, bound_paired_loss)
    clean_test = _get_clean_part(stored.test, stored.test_copies)
    pixels_undone = clean_test if stored.pixels is None else stored.pixels.tally
    labels_renamed = pixels_undone if stored.labels is None else stored.labels.tally
    validation = stored.validation
    kept = labels_renamed if validation is None else validation
    clean_validation = None if validation is None else _get_clean_part(validation, stored.validation_copies)
    gap = Gap(
        stored=stored,
        family=max(IMAGES_OF_FAMILY, stored.family),
        train=stored.train,
        best_by_accuracy=kept if late_by_accuracy is None else late_by_accuracy.validation,
        best_by_loss=kept if late_by_loss is None else late_by_loss.validation,
        validation=validation,
        clean_validation=clean_validation,
        degraded_validation=clean_validation if stored.quality is None else stored.quality.tally,
        labels_renamed=labels_renamed,
        pixels_undone=pixels_undone,
        clean_test=clean_test,
        test=stored.test,
        heldout=join_alike(stored, validation, labels_renamed),
        late_by_accuracy=late_by_accuracy,
        late_by_loss=late_by_loss,
        found_groups=group_rule if stored.family > declared else None,
    )
    terms = (
        _measure_late_epochs(gap),
        _measure_generalization(gap),
        _measure_copies(gap, "copies_in_validation", gap.validation, gap.clean_validation, stored.validation_copies),
        _measure_quality(gap),
        _measure_split_difference(gap),
        _measure_undone("label_order", gap.labels_renamed, gap.pixels_undone, stored.labels),
        _measure_undone("pixel_values", gap.pixels_undone, gap.clean_test, stored.pixels),
        _measure_copies(gap, "copies_in_test", gap.clean_test, gap.test, stored.test_copies),
    )
    return replace(gap, terms=tuple(term for term in terms if term is not None))


def _find_late(
    best: BestEpoch | None, stored: StoredGap, bound: Callable[[PairedTally, float], Bounds | None]
) -> BestEpoch | None:
    """The best epoch by one metric, if later ones clearly cost some of it, corrected for the number compared."""
    best = _find_earlier(best, stored)
    cost = None if best is None else bound(best.change, _choose_confidence(stored))
    return best if cost is not None and cost[0] > 0 else None


def _find_earlier(best: BestEpoch | None, stored: StoredGap) -> BestEpoch | None:
    """The best epoch, if the kept one is later."""
    return best if best is not None and best.epoch < stored.kept_epoch else None


def _choose_confidence(stored: StoredGap) -> float:
    """The confidence for one epoch: the best of many looks better than it is, so all share the false alarms."""
    return 1 - MAX_FALSE_ALARMS_OF_EPOCHS / stored.epochs


def _measure_late_epochs(gap: Gap) -> Term | None:
    """What the epochs after the best one cost on validation; exactly 0 for a metric whose best epoch was kept.

    Intervals are corrected for the number of epochs, as is the decision, so an interval that includes 0 goes with a
    term of 0.
    """
    stored, validation = gap.stored, gap.validation
    by_accuracy, by_loss = _find_earlier(stored.best_by_accuracy, stored), _find_earlier(stored.best_by_loss, stored)
    if validation is None or (by_accuracy is None and by_loss is None):
        return None
    return Term(
        "late_epochs",
        gap.best_by_accuracy.accuracy - validation.accuracy,
        (0.0, 0.0) if by_accuracy is None else bound_paired(by_accuracy.change, _choose_confidence(stored)),
        validation.loss - gap.best_by_loss.loss,
        (0.0, 0.0) if by_loss is None else bound_paired_loss(by_loss.change, _choose_confidence(stored)),
    )


def _measure_generalization(gap: Gap) -> Term:
    """Training minus validation, without what late epochs cost; training minus test if validation is unknown.

    If validation and test are alike, both tell what it is on new images, unless the kept epoch was not the best one.
    """
    train, best, best_loss, heldout = gap.train, gap.best_by_accuracy, gap.best_by_loss, gap.heldout
    accuracy, loss = train.accuracy - best.accuracy, best_loss.loss - train.loss
    bounds, loss_bounds = bound_difference(train, best, gap.family), bound_welch(best_loss, train, gap.family)
    if heldout is not None and gap.late_by_accuracy is None:
        bounds = include(accuracy, bound_difference(train, heldout.tally, heldout.family))
    if heldout is not None and gap.late_by_loss is None and loss_bounds is not None:
        joint = bound_welch(heldout.tally, train, heldout.family)
        loss_bounds = None if joint is None else include(loss, joint)
    return Term("generalisation", accuracy, bounds, loss, loss_bounds)


def _measure_copies(
    gap: Gap, code: TermCode, before: Tally | None, after: Tally | None, copies: HeldOutCopies | None
) -> Term | None:
    """How much relatives of training images lift a split: their share, times how much better they are answered.

    The term widens the gap if they lift validation, and narrows it if they lift test.
    """
    if before is None or after is None or copies is None or copies.clean is None or copies.copied is None:
        return None
    clean, copied, share = copies.clean, copies.copied, copies.share
    lift, loss = bound_difference(copied, clean, gap.family), bound_welch(clean, copied, gap.family)
    if code == "copies_in_test":
        lift, loss = mirror(lift), None if loss is None else mirror(loss)
    return Term(
        code,
        before.accuracy - after.accuracy,
        scale(lift, share),
        after.loss - before.loss,
        None if loss is None else scale(loss, share),
    )


def _is_renaming_disproved(stored: StoredGap) -> bool:
    """Whether labels of copies disprove the renaming of test that answers suggest."""
    if stored.labels is None or stored.test_copies is None:
        return False
    pairs = stored.test_copies.label_pairs
    return any(of_half is not None and is_disproved_by_copies(pairs, of_half) for of_half in stored.labels.renamings)


def _measure_quality(gap: Gap) -> Term | None:
    """What it costs on validation to be as blurred, noisy, compressed or small as test."""
    quality, clean = gap.stored.quality, gap.clean_validation
    if quality is None or clean is None:
        return None
    loss = bound_paired_loss(quality.change)
    return Term(
        "image_quality",
        clean.accuracy - quality.tally.accuracy,
        mirror(bound_paired(quality.change)),
        quality.tally.loss - clean.loss,
        None if loss is None else mirror(loss),
        how="estimated",
    )


def _measure_split_difference(gap: Gap) -> Term | None:
    """Validation minus test, both without copies, equally degraded, and with test's pixels and labels undone.

    If the halves of test disagree on what to undo, the interval covers the results of both.
    """
    validation, test = gap.degraded_validation, gap.labels_renamed
    if validation is None:
        return None
    undone = [change for change in (gap.stored.labels, gap.stored.pixels) if change is not None]
    halves = undone[0].halves or () if any(map(_halves_disagree, undone)) else ()
    tests = [test, *(half.tally for half in halves)]
    return Term(
        "split_difference",
        validation.accuracy - test.accuracy,
        span([bound_difference(validation, candidate, gap.family) for candidate in tests]),
        test.loss - validation.loss,
        span_if_all([bound_welch(candidate, validation, gap.family) for candidate in tests]),
    )


def _measure_undone(
    code: TermCode, undone: Tally, as_is: Tally, what: LabelsRenamed | PixelsUndone | None
) -> Term | None:
    """What undoing something restores on the same images.

    If the halves disagree on what to undo, the interval covers the results of both choices.
    """
    if what is None:
        return None
    halves = what.halves or () if _halves_disagree(what) else ()
    changes = [what.change, *(half.change for half in halves)]
    return Term(
        code,
        undone.accuracy - as_is.accuracy,
        span([bound_paired(change) for change in changes]),
        as_is.loss - undone.loss,
        span_if_all([bound_paired_loss(change) for change in changes]),
    )


def _halves_disagree(what: LabelsRenamed | PixelsUndone) -> bool:
    """Whether the two halves of the test images chose differently."""
    first, second = what.choices if isinstance(what, PixelsUndone) else what.renamings
    return first != second


def _get_clean_part(split: Tally, copies: HeldOutCopies | None) -> Tally:
    return split if copies is None or copies.clean is None else copies.clean
