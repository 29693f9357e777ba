"""Decides whether a search can distinguish wrong labels from hard images, and estimates the number of wrong labels.

A wrong label is as likely on an easy image as on a hard one. An error of the networks is not: the more confident they
are, the rarer it is. So images are ordered by the networks' confidence, and the share of labels that they
disagree with is followed to where they are most confident. What remains there is the share of wrong labels; the excess
at lower confidence comes from hard images. Which images have wrong labels is measured with planted ones: `planting.py`.
Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from heldout.diagnosis.evaluation import compute_skill
from heldout.stored.audit import ClassLabels, PlantedLabels, SplitLabels, Verdict, WrongLabels
from worker.training.suspects.planting import SUSPECTED, Judged, check, judge, plant

# The share of labels that networks disagree with, at a rank from 0 (the most confident) to 1: w + (1 - w) a rank^b.
SHARES = np.concatenate([np.arange(0, 0.1, 0.0025), np.arange(0.1, 1.005, 0.01)])
# No larger share of all labels is considered: networks that have learned nothing would look like labels that are all
# wrong. In a single split all may be wrong, for example with classes in another order, because the other splits show
# what the networks know.
MAX_OF_ALL = 0.655
ERRORS = np.concatenate([[0.005, 0.01, 0.02, 0.04], np.arange(0.06, 1.0, 0.06), [1.0]])
POWERS = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5])
BINS = 40
# The range has the shares whose log-likelihood is lower than the best one by at most this. It is half the 98% point of
# the chi-squared distribution with one degree of freedom. With the 95% point, too few ranges held: the curve of errors
# is only an approximation (docs/measurements/suspects.md).
LIKELIHOOD_DROP = 2.71
# The prior of a share is proportional to 1 / (share + this): most datasets have few wrong labels. It matters if there
# is little evidence, and only for the best estimate.
FEW = 0.01


@dataclass(frozen=True)
class WrongShare:
    """Share of labels that are wrong, with a range."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimated:
    """Shares of wrong labels of all images and of parts of them.

    errors: (images,) how often networks err on images with the same confidence.
    """

    whole: WrongShare
    parts: dict[str, WrongShare]
    errors: NDArray[np.float64]


def estimate_shares(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], parts: Mapping[str, NDArray[np.integer]]
) -> Estimated:
    """Estimate the share of wrong labels from where networks disagree with labels.

    The curve assumes that all parts have equally hard images: parts of one dataset differ in their labels.

    Args:
        probabilities: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
        parts: positions of the images of each part.
    """
    ranks = np.empty(len(labels), np.int64)
    ranks[np.argsort(-probabilities.max(axis=1), kind="stable")] = np.arange(len(labels))
    bins = np.minimum(ranks * BINS // len(labels), BINS - 1)
    disagrees = probabilities.argmax(axis=1) != labels
    whole = _log_likelihoods(disagrees, bins)
    of_parts = {name: _log_likelihoods(disagrees[rows], bins[rows]) for name, rows in parts.items() if len(rows)}
    best = {name: found.max(axis=0) for name, found in of_parts.items()}  # (curves,) with each part's own share
    together = np.sum(list(best.values()), axis=0)
    shares = {name: _find_range((found + (together - best[name])).max(axis=1)) for name, found in of_parts.items()}
    estimated = _find_range(whole.max(axis=1)[SHARES < MAX_OF_ALL])
    likeliest = _compute_errors()[whole[np.searchsorted(SHARES, estimated.share)].argmax()]
    return Estimated(estimated, shares, likeliest[bins])


def _compute_errors() -> NDArray[np.float64]:
    """Return (curves, bins) how often networks err, from the most to the least confident."""
    middles = (np.arange(BINS) + 0.5) / BINS
    return (ERRORS[:, None, None] * middles ** POWERS[None, :, None]).reshape(-1, BINS)


def _log_likelihoods(disagrees: NDArray[np.bool_], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (shares, curves) the expected disagreement of the networks."""
    wrong = np.bincount(bins, disagrees, BINS)
    right = np.bincount(bins, minlength=BINS) - wrong
    expected = SHARES[:, None, None] + (1 - SHARES[:, None, None]) * _compute_errors()
    expected = expected.clip(1e-4, 1 - 1e-4)
    return np.log(expected) @ wrong + np.log(1 - expected) @ right


def _find_range(likelihoods: NDArray[np.float64]) -> WrongShare:
    inside = np.flatnonzero(likelihoods >= np.max(likelihoods) - LIKELIHOOD_DROP)
    # The range ends between these shares and the next ones.
    low, high = max(0, inside[0] - 1), min(len(likelihoods) - 1, inside[-1] + 1)
    likeliest = np.argmax(likelihoods - np.log(SHARES[: len(likelihoods)] + FEW))
    return WrongShare(float(SHARES[likeliest]), float(SHARES[low]), float(SHARES[high]))


# Conditions for a conclusive search, fitted on the open sets of the zoo (docs/measurements/suspects.md). The networks
# must have this skill on the right labels (0 is guessing, 1 is perfect), and find this share of planted labels. The
# range of the share of wrong labels must not be wider than this.
MIN_RIGHT = 0.7
MIN_FOUND = 0.5
MAX_WIDTH = 0.15
# The same for a class before one of its labels is accused. A class is learned less well than all together, and a rare
# one often not at all: then networks disagree with each of its labels.
MIN_RIGHT_OF_CLASS = 0.5
MIN_FOUND_OF_CLASS = 0.5
# Share of the images that must be of such classes.
MIN_JUDGED = 0.5
SUREST_FIFTH = 0.2
PLANTING = 7


@dataclass(frozen=True)
class LabelEstimate:
    """The estimate for a dataset's labels.

    counts, splits: for all judged images and for those of each split, whatever the verdict.
    is_judged: (images,) whether networks know the class of the label.
    surest_agreement: share of the labels that networks agree with, among the fifth of which they are surest.
    """

    verdict: Verdict
    judged: Judged
    counts: WrongLabels
    splits: dict[str, SplitLabels]
    planted: PlantedLabels
    classes: tuple[ClassLabels, ...]
    is_judged: NDArray[np.bool_]
    surest_agreement: float


def estimate(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], splits: Mapping[str, NDArray[np.integer]], seed: int
) -> LabelEstimate:
    """Judge all labels of the classes that networks know, and how reliable that is.

    Args:
        probabilities: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
        splits: positions of each split's images.
    """
    every = _estimate_known(probabilities, labels, splits, seed)
    known = np.array([of.label for of in every.classes if _is_known(of, every, probabilities.shape[1])], np.int64)
    is_judged = np.isin(labels, known)
    if len(known) == len(every.classes) or len(known) < 2 or is_judged.mean() < MIN_JUDGED:
        return every
    # As if the dataset had no other classes: networks cannot speak for a class that they do not know.
    rows = np.flatnonzero(is_judged)
    place = np.cumsum(is_judged) - 1
    some = _estimate_known(
        probabilities[np.ix_(rows, known)],
        np.searchsorted(known, labels[rows]).astype(np.int32),
        {split: place[np.intersect1d(of_split, rows)] for split, of_split in splits.items()},
        seed,
    )
    counted = {int(known[of.label]): of for of in some.classes}
    return replace(
        some,
        verdict="can_tell" if every.verdict == some.verdict == "can_tell" else "too_hard",
        judged=_place_judged(some.judged, rows, known, every.judged),
        classes=tuple(
            of.model_copy(update={"wrong": counted[of.label].wrong if of.label in counted else None})
            for of in every.classes
        ),
        is_judged=is_judged,
        surest_agreement=every.surest_agreement,
    )


def _is_known(of: ClassLabels, every: LabelEstimate, classes: int) -> bool:
    """Return whether networks know a class well enough to judge its labels."""
    right = of.agreement / (1 - every.counts.low / max(1, len(every.is_judged)))
    return compute_skill(right, 1 / classes) >= MIN_RIGHT_OF_CLASS and of.found >= MIN_FOUND_OF_CLASS


def _place_judged(some: Judged, rows: NDArray[np.int64], known: NDArray[np.int64], every: Judged) -> Judged:
    """Return the judgment of all images: the labels of unknown classes are not accused, and come last."""
    wrong, scores = np.zeros(len(every.wrong)), np.full(len(every.scores), -np.inf)
    suggested = every.suggested.copy()
    wrong[rows], scores[rows], suggested[rows] = some.wrong, some.scores, known[some.suggested]
    return Judged(wrong, scores, suggested)


def _estimate_known(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], splits: Mapping[str, NDArray[np.integer]], seed: int
) -> LabelEstimate:
    """Judge all labels, whatever their class."""
    estimated = estimate_shares(probabilities, labels, splits)
    whole = estimated.whole
    planted = plant(probabilities, labels, np.random.default_rng([seed, PLANTING]))
    judged = judge(probabilities, labels, planted, whole.share, estimated.errors)
    agrees = probabilities.argmax(axis=1) == labels
    checked = check(probabilities, labels, planted, whole.share, estimated.errors)
    known = PlantedLabels(
        planted=len(planted.rows),
        found=float(checked.found.mean()),
        right_class=float(checked.suggests_right.mean()),
        accused=checked.accused,
        in_first=checked.in_first,
    )
    is_right = compute_skill(float(agrees.mean()) / (1 - whole.low), 1 / probabilities.shape[1]) >= MIN_RIGHT
    can_tell = is_right and whole.high - whole.low <= MAX_WIDTH and known.found >= MIN_FOUND
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(SUREST_FIFTH * len(labels)))]
    return LabelEstimate(
        verdict="can_tell" if can_tell else "too_hard",
        judged=judged,
        counts=_estimate_counts(whole, len(labels)),
        splits={
            split: SplitLabels(images=len(splits[split]), **_estimate_counts(share, len(splits[split])).model_dump())
            for split, share in estimated.parts.items()
        },
        planted=known,
        classes=_describe_classes(labels, agrees, labels[planted.rows], checked.found, judged.wrong),
        is_judged=np.ones(len(labels), np.bool_),
        surest_agreement=float(agrees[surest].mean()),
    )


def is_trusted(probabilities: NDArray[np.floating], labels: NDArray[np.int32], seed: int) -> NDArray[np.bool_]:
    """Return (images,) whether an image may be trained on after networks have judged its label."""
    estimated = estimate_shares(probabilities, labels, {})
    planted = plant(probabilities, labels, np.random.default_rng([seed, PLANTING]))
    return judge(probabilities, labels, planted, estimated.whole.share, estimated.errors).wrong < SUSPECTED


def _estimate_counts(share: WrongShare, images: int) -> WrongLabels:
    return WrongLabels(
        count=round(share.share * images),
        low=int(np.floor(share.low * images)),
        high=int(np.ceil(share.high * images)),
    )


def _describe_classes(
    labels: NDArray[np.int32],
    agrees: NDArray[np.bool_],
    planted: NDArray[np.int32],
    is_found: NDArray[np.bool_],
    wrong: NDArray[np.float64],
) -> tuple[ClassLabels, ...]:
    return tuple(
        ClassLabels(
            label=int(label),
            images=int((labels == label).sum()),
            agreement=float(agrees[labels == label].mean()),
            found=float(is_found[planted == label].mean()),
            wrong=round(float(wrong[labels == label].sum()), 1),
        )
        for label in np.unique(labels)
    )
