"""Metrics of answers to labeled images, each with what every image contributes to it. Pure.

A contribution is the metric plus the image's influence: how much the metric would change if there were more images like
it. The mean of the contributions is the metric. So intervals of any metric, and of differences between two networks on
the same images, follow from single images as those of an accuracy do.

Source of the influences: Hampel 1974, JASA 69(346); of the area under the ROC curve: DeLong, DeLong and Clarke-Pearson
1988, Biometrics 44(3).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import NO_GROUP, Answers
from heldout.metrics import FEWEST_OF_RAREST, MEASURES, METRICS, SMALLEST, Measure
from heldout.statistics import compute_t_quantile, compute_wilson_interval
from heldout.stored.results import MetricResult

Values = NDArray[np.float64]
# Images that smooth the recall of a class: they are answered as well as the average class.
SMOOTHING_IMAGES = 5.0
TOP = 5
# More probabilities than this would take too long to sort for a figure that no one has asked for.
MOST_SORTED = 50_000_000


class NotMeasurable(ValueError):
    """A split cannot have a metric; the message says why."""


@dataclass(frozen=True)
class Contributions:
    """A metric of some images.

    of_image: (images,) their contributions, whose mean is `value`. For a minimum, whether each is answered correctly.
    strata: (images,) the class or group of each, from 0, or `NO_GROUP`. All 0 if no class has a weight.
    """

    value: float
    of_image: Values
    strata: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(strata,) the images of each; 0 for one without images."""
        return count_strata(self.strata)


def contribute(metric: Measure, answers: Answers, costs: Sequence[Sequence[float]] | None = None) -> Contributions:
    """Compute a metric and what each image contributes to it.

    Args:
        answers: of at least one image.
        costs: for `cost`, the cost of each answer to each label.
    Raises:
        NotMeasurable: if these images cannot have the metric.
    """
    if not len(answers):
        raise NotMeasurable("There are no images.")
    if METRICS[metric].needs_probabilities and answers.probabilities is None:
        raise NotMeasurable("It needs probabilities, and only the answers are known.")
    strata = _get_strata(metric, answers)
    of_image = _compute_costs(answers, costs) if metric == "cost" else CONTRIBUTIONS[metric](answers)
    value = compute_minimum(of_image, strata) if METRICS[metric].is_minimum else float(of_image.mean())
    return Contributions(value, of_image, strata)


def _get_strata(metric: Measure, answers: Answers) -> NDArray[np.int64]:
    if METRICS[metric].depends_on is None:
        return np.zeros(len(answers), np.int64)
    if METRICS[metric].depends_on == "classes":
        if len(np.unique(answers.labels)) < 2:
            raise NotMeasurable("All images are of one class.")
        return answers.labels.astype(np.int64)
    if answers.groups is None:
        raise NotMeasurable("It needs `group_column`.")
    if len(np.unique(answers.groups[answers.groups != NO_GROUP])) < 2:
        raise NotMeasurable("The images are not of two groups.")
    return answers.groups


def count_strata(strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (strata,) the images of each; 0 for one without images."""
    return np.bincount(strata[strata != NO_GROUP])


def sum_strata(strata: NDArray[np.int64], values: Values) -> Values:
    """Return (strata,) the sum of the values of each."""
    inside = strata != NO_GROUP
    return np.bincount(strata[inside], values[inside])


def compute_minimum(right: Values, strata: NDArray[np.int64]) -> float:
    """Return the lowest share of right answers in a stratum, smoothed for strata of few images."""
    counts = count_strata(strata)
    known = counts > 0
    return smooth_minimum(sum_strata(strata, right)[known] / counts[known], counts[known])


def smooth_minimum(shares: NDArray[np.floating], counts: NDArray[np.integer]) -> float:
    """Return the lowest share after each was pulled towards their mean, the more the fewer images it has."""
    usual = float(np.mean(shares))
    return float(np.min((shares * counts + usual * SMOOTHING_IMAGES) / (counts + SMOOTHING_IMAGES)))


def _contribute_balanced_accuracy(answers: Answers) -> Values:
    classes, places, counts = np.unique(answers.labels, return_inverse=True, return_counts=True)
    right = answers.right.astype(np.float64)
    recalls = np.bincount(places, right) / counts
    weights = (len(answers) / (len(classes) * counts))[places]
    return np.asarray(recalls.mean() + weights * (right - recalls[places]))


def _contribute_f1(answers: Answers) -> Values:
    labels, predicted, found = answers.labels, answers.classes, np.zeros(len(answers))
    classes = np.unique(labels)
    for label in classes.tolist():
        is_label, is_predicted = labels == label, predicted == label
        both, either = 2.0 * (is_label & is_predicted), is_label.astype(np.float64) + is_predicted
        score = both.sum() / either.sum()
        found += score + (both - score * either) / either.mean()
    return found / len(classes)


def _contribute_auroc(answers: Answers) -> Values:
    assert answers.probabilities is not None
    if answers.probabilities.size > MOST_SORTED:
        raise NotMeasurable(f"There are more than {MOST_SORTED:,} probabilities to sort.")
    labels, count, found = answers.labels, len(answers), np.zeros(len(answers))
    classes = np.unique(labels)
    for label in classes.tolist():
        is_label, scores = labels == label, answers.probabilities[:, label]
        inside, outside = np.sort(scores[is_label]), np.sort(scores[~is_label])
        # Which share of the others each image of the class exceeds, and of the class each of the others does not reach.
        exceeded = _rank(scores[is_label], outside)
        unreached = 1 - _rank(scores[~is_label], inside)
        area = float(exceeded.mean())
        found[is_label] += area + (exceeded - area) * count / len(inside)
        found[~is_label] += area + (unreached - area) * count / len(outside)
    return found / len(classes)


def _rank(scores: NDArray[np.float32], others: NDArray[np.float32]) -> Values:
    """Return for each score the share of the sorted others below it; equal ones count half."""
    below, at_most = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    return np.asarray((below + at_most) / (2 * len(others)))


def _contribute_top_5(answers: Answers) -> Values:
    assert answers.probabilities is not None
    if answers.probabilities.shape[1] <= TOP:
        raise NotMeasurable(f"With at most {TOP} classes, every answer is among the first {TOP}.")
    of_label = answers.probabilities[np.arange(len(answers)), answers.labels]
    return np.asarray((answers.probabilities > of_label[:, None]).sum(axis=1) < TOP, np.float64)


def _compute_costs(answers: Answers, costs: Sequence[Sequence[float]] | None) -> Values:
    assert answers.probabilities is not None
    if costs is None:
        raise NotMeasurable("It needs `costs`.")
    table, classes = np.asarray(costs, np.float64), answers.probabilities.shape[1]
    if table.shape not in {(classes, classes), (classes, classes + 1)}:
        raise NotMeasurable(f"`costs` has {len(table)} rows; the images have {classes} classes.")
    chosen = (answers.probabilities.astype(np.float64) @ table).argmin(axis=1)
    return np.asarray(table[answers.labels, chosen])


CONTRIBUTIONS: Mapping[Measure, Callable[[Answers], Values]] = {
    "accuracy": lambda answers: answers.right.astype(np.float64),
    "loss": lambda answers: answers.losses,
    "balanced_accuracy": _contribute_balanced_accuracy,
    "macro_f1": _contribute_f1,
    "worst_class": lambda answers: answers.right.astype(np.float64),
    "worst_group": lambda answers: answers.right.astype(np.float64),
    "auroc": _contribute_auroc,
    "top_5": _contribute_top_5,
}
if CONTRIBUTIONS.keys() | {"cost"} != METRICS.keys():
    raise TypeError("every metric needs a function")


# --- one split -------------------------------------------------------------------------------------------


def measure_split(answers: Answers, costs: Sequence[Sequence[float]] | None = None) -> dict[str, MetricResult]:
    """Compute every metric of a split with its 95% interval; loss and accuracy are not among them."""
    found: dict[str, MetricResult] = {}
    for name in METRICS:
        is_asked = {"cost": costs is not None, "worst_group": answers.groups is not None}
        if name in MEASURES or not is_asked.get(name, True):
            continue
        try:
            found[name] = describe_metric(name, contribute(name, answers, costs))
        except NotMeasurable as why:
            found[name] = MetricResult(value=None, interval=None, why=str(why))
    return found


def describe_metric(name: Measure, found: Contributions, confidence: float = 0.95) -> MetricResult:
    """Return a metric with its interval; without one if its rarest class or smallest group has too few images."""
    counts, strata = found.counts, METRICS[name].depends_on
    rarest = int(np.min(counts[counts > 0]))
    if strata is not None and rarest < FEWEST_OF_RAREST:
        return MetricResult(value=found.value, interval=None, why=say_too_few(rarest, strata))
    return MetricResult(value=found.value, interval=_compute_interval(name, found, confidence))


def say_too_few(rarest: int, strata: Literal["classes", "groups"]) -> str:
    """Say that there are too few images for an interval."""
    images, which = "one image" if rarest == 1 else f"{rarest} images", SMALLEST[strata]
    return f"Too few to say: {which} has {images} here; {FEWEST_OF_RAREST} are needed."


def _compute_interval(name: Measure, found: Contributions, confidence: float) -> tuple[float, float] | None:
    error = 1 - confidence
    if METRICS[name].is_minimum:
        return compute_minimum_interval(found, error)
    if len(found.of_image) < 2:
        return None
    variance, degrees = compute_variance(found)
    half = compute_t_quantile(1 - error / 2, degrees) * sqrt(variance)
    if not METRICS[name].is_share:
        return max(found.value - half, 0.0), found.value + half
    if METRICS[name].depends_on is None:
        return compute_wilson_interval(found.of_image.sum(), len(found.of_image), confidence)
    return _fold_into_share(found.value, half, error)


def compute_variance(found: Contributions) -> tuple[float, float]:
    """Return the variance of a metric that its images give it, and its degrees of freedom.

    Source: Satterthwaite 1946, Biometrics Bulletin 2(6), for strata whose variances differ.
    """
    counts = np.bincount(found.strata)
    used, total = counts > 0, len(found.of_image)
    squares = np.bincount(found.strata, (found.of_image - found.value) ** 2)[used]
    counts = counts[used]
    parts = squares / np.maximum(counts - 1, 1) * counts / total**2
    # Half an image of each kind in each stratum, so that nothing is known exactly.
    parts = parts + (1 / (len(counts) * counts)) ** 2 / 4
    degrees = float(parts.sum() ** 2 / np.sum(parts**2 / np.maximum(counts - 1, 1)))
    return float(parts.sum()), max(degrees, 1.0)


def _fold_into_share(value: float, half: float, error: float) -> tuple[float, float]:
    """Return the bounds of a share, by Wilson's interval for as many images as have this half width."""
    z = NormalDist().inv_cdf(1 - error / 2)
    spread, variance = max(value * (1 - value), 0.0), (half / z) ** 2
    # As many images of a share have this variance, with half an image of each kind as in `compute_variance`.
    images = max((spread + sqrt(spread**2 + variance)) / (2 * variance), 1.0)
    low, high = compute_wilson_interval(value * images, images, 1 - error)
    return min(low, max(value - half, 0.0)), max(high, min(value + half, 1.0))


def compute_minimum_interval(found: Contributions, error: float) -> tuple[float, float]:
    """Return conservative bounds of the lowest share of several strata.

    The lowest stratum is covered from below by its own bound, and the lowest bound of all is no higher. From above, no
    stratum may be below the lowest, so each bound misses with its share of the error.
    """
    counts, rights = found.counts, sum_strata(found.strata, found.of_image)
    pairs = [(right, count) for right, count in zip(rights.tolist(), counts.tolist(), strict=True) if count]
    low = min(compute_exact_bounds(right, count, error)[0] for right, count in pairs)
    high = min(compute_exact_bounds(right, count, error / len(pairs))[1] for right, count in pairs)
    return low, max(high, min(found.value, 1.0))


def compute_exact_bounds(right: float, count: int, error: float) -> tuple[float, float]:
    """Return the bounds of a share. Source: Clopper and Pearson 1934, Biometrika 26(4)."""
    # Imported here because SciPy takes time to import, and few processes need it.
    from scipy.special import betaincinv

    low = 0.0 if right <= 0 else float(betaincinv(right, count - right + 1, error / 2))
    high = 1.0 if right >= count else float(betaincinv(right + 1, count - right, 1 - error / 2))
    return low, high
