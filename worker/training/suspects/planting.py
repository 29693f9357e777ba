"""Plants wrong labels in copies of the labels, to learn how many the search finds and how reliable it is. Pure.

An image is judged by networks that never saw it, whatever its label. So a planted label needs no further training: it
is judged like any other wrong label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

# Labels changed in each copy, and how many copies there are: each label of a large class is changed once.
SHARE, COPIES = 0.1, 10
# No network is so confident that less is left for a class.
SMALLEST = 1e-6
# Networks that were trained in the same way make the same errors: none makes it certain that a label is wrong. Of 115
# labels that an earlier bound let be called wrong with 99%, seven were right, all of one set.
SUREST = 0.95
SUSPECTED = 0.5
# Share of the networks' errors that look as odd as a wrong label: most leave the right label some probability.
# Fitted to the open sets of the zoo.
ODD_ERRORS = 0.25
# Labels at the head of a list, which a person looks at first.
FIRST = 20
# Images whose scores are counted together, at least, and as a share of all.
MIN_COUNTED, COUNTED_SHARE = 10, 0.01


@dataclass(frozen=True)
class Planted:
    """Labels that were changed.

    rows: their images. labels: the new labels. scores: how odd these are. copies: the copy of the labels each is in.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    copies: NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """The networks' answers for each image.

    wrong: (images,) probability that its label is wrong, at most SUREST.
    scores: (images,) how odd its label is, for ranking.
    suggested: (images,) the most probable class other than the given one.
    """

    wrong: NDArray[np.float64]
    scores: NDArray[np.float64]
    suggested: NDArray[np.int32]


@dataclass(frozen=True)
class Checked:
    """How labels are judged in copies with planted ones.

    found: (planted,) whether a planted label is suspected. accused: share of the others that are suspected.
    suggests_right: (planted,) whether the original label is suggested.
    in_first: of the FIRST oddest labels of a copy, how many were changed: the mean over the copies.
    """

    found: NDArray[np.bool_]
    accused: float
    suggests_right: NDArray[np.bool_]
    in_first: float


def score_labels(probabilities: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return (images,) how much more probable another class is than the label, as a logarithm."""
    floored: NDArray[np.float64] = np.maximum(probabilities.astype(np.float64), SMALLEST)
    rows = np.arange(len(labels))
    own = floored[rows, labels]
    floored[rows, labels] = 0
    return np.log(np.maximum(floored.max(axis=1), SMALLEST)) - np.log(own)


def plant(probabilities: NDArray[np.floating], labels: NDArray[np.int32], draws: np.random.Generator) -> Planted:
    """Change a share of each class's labels: half of them to any class, half to classes that the networks confuse."""
    classes = probabilities.shape[1]
    others = 1.0 - np.eye(classes)
    mistaken = np.stack(
        [probabilities[labels == own].sum(axis=0) if (labels == own).any() else others[own] for own in range(classes)]
    )
    chances = [_compute_shares(others), _compute_shares(np.maximum(mistaken, 1e-12) * others)]
    cumulative = np.cumsum(sum(chances) / 2, axis=1)
    chosen = [_choose_rows_of_copies(np.flatnonzero(labels == own), draws) for own in range(classes)]
    rows = np.concatenate([of_class.ravel() for of_class in chosen])
    copies = np.concatenate([np.indices(of_class.shape)[0].ravel() for of_class in chosen])
    new = (cumulative[labels[rows]] < draws.random(len(rows))[:, None]).sum(axis=1).clip(0, classes - 1)
    new = np.where(new == labels[rows], (new + 1) % classes, new).astype(np.int32)
    return Planted(rows, new, score_labels(probabilities[rows], new), copies)


def judge(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    planted: Planted,
    share: float,
    errors: NDArray[np.floating],
) -> Judged:
    """Judge the labels of images.

    Args:
        probabilities: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
        share: of the labels that are wrong.
        errors: (images,) how often networks err on images of which they are as sure.
    """
    scores = score_labels(probabilities, labels)
    wrong = np.minimum(_compute_probabilities(scores, planted.scores, share), _compute_limits(share, errors))
    return Judged(wrong, scores, _suggest(probabilities, labels))


def check(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    planted: Planted,
    share: float,
    errors: NDArray[np.floating],
) -> Checked:
    """Judge the copies with planted labels. The arguments are those of `judge`."""
    others = score_labels(probabilities, labels)
    weight = round(1 / SHARE) - 1  # labels left unchanged per changed label
    share = SHARE + (1 - SHARE) * share
    limits = _compute_limits(share, errors)
    copies = _compute_probabilities(np.concatenate([planted.scores, *[others] * weight]), planted.scores, share)
    wrong = np.minimum(copies, np.concatenate([limits[planted.rows], *[limits] * weight])) > SUSPECTED
    changed = len(planted.scores)
    return Checked(
        found=wrong[:changed],
        accused=float(wrong[changed:].mean()),
        suggests_right=_suggest(probabilities[planted.rows], planted.labels) == labels[planted.rows],
        in_first=float(np.mean([_count_in_first(others, planted, copy) for copy in range(COPIES)])),
    )


def _count_in_first(scores: NDArray[np.float64], planted: Planted, copy: int) -> int:
    """Count the changed labels among the FIRST oddest of a copy. Of equally odd labels, the unchanged come first."""
    is_here = planted.copies == copy
    unchanged = np.delete(scores, planted.rows[is_here])
    ordered = np.concatenate([unchanged, planted.scores[is_here]])
    first = np.argsort(-ordered, kind="stable")[:FIRST]
    return int((first >= len(unchanged)).sum())


def _compute_limits(share: float, errors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (images,) the largest probability that a label is wrong: networks that disagree with it may err, too."""
    return share / np.maximum(share + (1 - share) * ODD_ERRORS * errors, SMALLEST)


def _compute_probabilities(
    scores: NDArray[np.float64], planted: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Return (labels,) the probability that a label is wrong: share × planted / all, among those about as odd."""
    counted = max(MIN_COUNTED, round(COUNTED_SHARE * len(scores)))
    edges = -np.sort(-scores, kind="stable")[counted::counted]  # descending
    places = np.searchsorted(-edges, -scores, side="right")
    of_all = np.maximum(np.bincount(places, minlength=len(edges) + 1), 1)
    of_planted = np.bincount(np.searchsorted(-edges, -planted, side="right"), minlength=len(edges) + 1)
    ratios = share * (of_planted / len(planted)) / (of_all / len(scores))
    smooth = IsotonicRegression(increasing=False, y_min=0, y_max=SUREST)
    probabilities: NDArray[np.float64] = smooth.fit_transform(np.arange(len(ratios)), ratios, sample_weight=of_all)
    return probabilities[places]


def _suggest(probabilities: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    return others.argmax(axis=1).astype(np.int32)


def _compute_shares(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), SMALLEST)


def _choose_rows_of_copies(rows: NDArray[np.int64], draws: np.random.Generator) -> NDArray[np.int64]:
    """Return (copies, images) the images of one class whose labels are changed."""
    each = max(1, round(SHARE * len(rows))) if len(rows) else 0
    return np.stack([draws.permutation(rows)[:each] for _ in range(COPIES)])
