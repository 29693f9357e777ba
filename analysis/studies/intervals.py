"""The uncertainty of a mean over images and trainings, and of a difference between two arms. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isfinite, sqrt
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

from heldout.statistics import compute_t_quantile

# The weight of the noise of all arms relative to an arm's own: degrees of freedom in its variance, and additional
# degrees of freedom in total. Found by simulation (docs/measurements/coverage.md).
OTHERS_WEIGHT = 2
OTHERS_DEGREES = 1
# One image with different answers, half of it each way, so that no difference of accuracies is known exactly.
PSEUDO_IMAGES = 1.0


@dataclass(frozen=True)
class Spread:
    """A mean over images and trainings, and the parts of its uncertainty. Variances are squares of its unit.

    run_variance: of the means of single trainings, with trainings − 1 degrees of freedom; 0 for one training.
    image_noise: the part of run_variance that comes from the images of one training.
    lasting_image_noise: variance of the mean that comes from the images, which more trainings do not reduce.
    folds: into how many parts train and validation are divided; None if all trainings are measured on the same images.
    own_degrees: degrees of freedom, if the trainings are not paired.
    image_degrees: degrees of freedom of the variances between images, if a few rare ones decide; None if many do.
    """

    mean: float
    trainings: int
    images: int
    run_variance: float
    image_noise: float
    lasting_image_noise: float
    folds: int | None = None
    own_degrees: float | None = None
    image_degrees: float | None = None

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance between trainings."""
        return self.trainings - 1 if self.own_degrees is None else self.own_degrees


@dataclass(frozen=True)
class RunNoise:
    """A variance between trainings, and its degrees of freedom."""

    variance: float
    degrees: float


def compute_crossed_spread(values: NDArray[np.float64], *, binary: bool = False) -> Spread:
    """Return the spread of a mean over images on which every training is measured.

    Args:
        values: (trainings, images), at least 1 × 2.
        binary: whether they are right or wrong answers, or differences of such.
    Source: the two-way layout without replication, e.g. Scheffé 1959, The Analysis of Variance, chapter 4.
    """
    trainings, images = values.shape
    by_training, by_image, mean = values.mean(axis=1), values.mean(axis=0), float(values.mean())
    mean_square_images = trainings * float(np.sum((by_image - mean) ** 2)) / (images - 1)
    if trainings > 1:
        rest = values - by_training[:, None] - by_image[None, :] + mean
        mean_square_rest = float(np.sum(rest**2)) / ((trainings - 1) * (images - 1))
    else:
        mean_square_rest = mean_square_images
    return Spread(
        mean,
        trainings,
        images,
        run_variance=float(by_training.var(ddof=1)) if trainings > 1 else 0.0,
        image_noise=mean_square_rest / images,
        lasting_image_noise=(mean_square_images - mean_square_rest) / (trainings * images)
        + _count_pseudo_images(binary, images),
    )


def compute_folded_spread(values: Sequence[NDArray[np.float64]], folds: int, *, binary: bool = False) -> Spread:
    """Return the spread of a mean over trainings that are each measured on their own fold, until all folds are used.

    Args:
        values: for each training (images of its fold,), at least 2 each.
        folds: into how many parts train and validation are divided.
        binary: whether they are right or wrong answers, or differences of such.
    Source: Nadeau and Bengio 2003, Machine Learning 52(3), the corrected resampled t-test.
    """
    by_training = np.asarray([float(part.mean()) for part in values])
    images = sum(len(part) for part in values)
    return Spread(
        float(by_training.mean()),
        len(values),
        images,
        run_variance=float(by_training.var(ddof=1)) if len(values) > 1 else 0.0,
        image_noise=float(np.mean([part.var(ddof=1) / len(part) for part in values])),
        lasting_image_noise=_count_pseudo_images(binary, images),
        folds=folds,
    )


def compute_spread(values: Sequence[NDArray[np.float64]], folds: int | None, *, binary: bool = False) -> Spread:
    """Return the spread of a mean over trainings on the same images, or each on its own of `folds` parts."""
    if folds is None:
        return compute_crossed_spread(np.stack(values), binary=binary)
    return compute_folded_spread(values, folds, binary=binary)


def subtract_spreads(first: Spread, second: Spread, lasting_image_noise: float) -> Spread:
    """Return the spread of one mean minus another whose trainings are not paired with it.

    Args:
        lasting_image_noise: of the difference.
    Source: Welch 1947, Biometrika 34(1-2).
    """
    count = min(first.trainings, second.trainings)
    own, other = (spread.run_variance / spread.trainings for spread in (first, second))
    degrees: float = first.trainings + second.trainings - 2
    if own + other > 0:
        share = own / (own + other)
        degrees = 1 / (share**2 / max(first.degrees, 1) + (1 - share) ** 2 / max(second.degrees, 1))
    image_noise = first.image_noise / first.trainings + second.image_noise / second.trainings
    return Spread(
        first.mean - second.mean,
        count,
        first.images,
        run_variance=count * (own + other),
        image_noise=count * image_noise,
        lasting_image_noise=lasting_image_noise,
        own_degrees=max(degrees, 1.0),
    )


def compute_unpaired_spread(first: NDArray[np.float64], second: NDArray[np.float64], *, binary: bool = False) -> Spread:
    """Return the spread of a difference of trainings that are measured on the same images, but are not paired.

    Args:
        first, second: (trainings, images), as for `compute_crossed_spread`.
    """
    own, other = compute_crossed_spread(first), compute_crossed_spread(second)
    by_image, images = first.mean(axis=0) - second.mean(axis=0), first.shape[1]
    noise = own.image_noise / own.trainings + other.image_noise / other.trainings
    lasting = float(by_image.var(ddof=1)) / images - noise + _count_pseudo_images(binary, images)
    return subtract_spreads(own, other, lasting)


def compute_figures_spread(
    figures: Sequence[float], images: int | None, lasting_image_noise: float, rounding: float
) -> Spread:
    """Return the spread of a mean of final figures, whose answers to single images are unknown.

    Args:
        rounding: the least variance, since even equal figures may have been rounded.
    """
    values = np.asarray(figures, np.float64)
    return Spread(
        float(values.mean()),
        len(values),
        images or 0,
        run_variance=max(float(values.var(ddof=1)), rounding) if len(values) > 1 else 0.0,
        image_noise=0.0,
        lasting_image_noise=lasting_image_noise,
    )


def compute_share_noise(share: float, images: int | None) -> float:
    """Return the variance of a share of right answers that comes from the images; 0 if their number is unknown.

    Source: Agresti and Caffo 2000, The American Statistician 54(4): one more image of each kind.
    """
    if images is None:
        return 0.0
    adjusted = (share * images + 1) / (images + 2)
    return adjusted * (1 - adjusted) / (images + 2)


def _count_pseudo_images(binary: bool, images: int) -> float:
    """Return what half an image of each kind adds to the variance, which widens intervals for few differences.

    Source: Agresti and Min 2005, Statistics in Medicine 24(5).
    """
    return PSEUDO_IMAGES / images**2 if binary else 0.0


@dataclass(frozen=True)
class MeanEstimate:
    """A mean, and the inputs of its interval."""

    spread: Spread
    noise: RunNoise

    @property
    def mean(self) -> float:
        """Return the center of every interval."""
        return self.spread.mean

    def mirror(self) -> "MeanEstimate":
        """Return the estimate of the negative mean."""
        return replace(self, spread=replace(self.spread, mean=-self.spread.mean))

    def interval(self, error: float = 0.05) -> tuple[float, float]:
        """Return bounds that miss the true mean with probability `error`."""
        half = self.compute_half_width(error)
        return self.mean - half, self.mean + half

    def compute_half_width(self, error: float) -> float:
        """Return half the width of that interval: t for variation between trainings, z for variation between images."""
        return self._compute_half(error, self.noise.degrees, self.spread.trainings, self.spread.lasting_image_noise)

    def compute_expected_half_width(self, error: float, trainings: int, image_factor: float = 1.0) -> float:
        """Return the same after this many trainings, at least 2, on this many times the images."""
        degrees = self.noise.degrees * (trainings - 1) / max(self.spread.trainings - 1, 1)
        # A negative part is due to chance in these images and trainings, and would not last.
        lasting = max(self.spread.lasting_image_noise, 0.0)
        return self._compute_half(error, degrees, trainings, lasting, image_factor)

    def compute_expected_change(self, trainings: int, error: float = 0.05) -> float:
        """Return how far the mean may still move until there are this many trainings, with the same images."""
        if not isfinite(self.noise.variance):
            return inf
        variance = max(self.noise.variance, 0.0) * max(1 / self.spread.trainings - 1 / trainings, 0.0)
        return _t(1 - error / 2, self.noise.degrees) * sqrt(variance)

    def _compute_half(
        self, error: float, degrees: float, trainings: int, lasting: float, image_factor: float = 1.0
    ) -> float:
        spread, share, image_share = self.spread, 1 / trainings, 1 / trainings
        if spread.folds is not None:
            share += 1 / (spread.folds - 1)  # training sets of folds overlap, so trainings depend on each other
            image_share = 1 / min(
                trainings, spread.folds
            )  # images of folds do not overlap, until they are measured again
        between = max(self.noise.variance - spread.image_noise, 0.0) * share
        images = (lasting + spread.image_noise * image_share) / image_factor
        t, z = _t(1 - error / 2, degrees), NormalDist().inv_cdf(1 - error / 2)
        if spread.image_degrees is not None:
            z = _t(1 - error / 2, spread.image_degrees * image_factor)
        return sqrt(max(t * t * between + z * z * images, 0.0))


# A measure that is not compared. Nothing is known of it, so it decides nothing.
UNKNOWN = MeanEstimate(Spread(float("nan"), 2, 0, float("inf"), 0.0, 0.0), RunNoise(float("inf"), 1))

# A study needs the same few quantiles repeatedly, also in a transaction.
_t = lru_cache(maxsize=4096)(compute_t_quantile)


def estimate_own_noise(spread: Spread) -> RunNoise:
    """Return the noise between an arm's trainings, from these only. For a single training it is unknown: 0."""
    return RunNoise(spread.run_variance, max(spread.degrees, 1))


def estimate_shared_noise(spreads: Sequence[Spread]) -> list[RunNoise]:
    """Return the noise between trainings for each of several arms that are compared with one base, using all arms.

    The variances s² of few trainings scatter widely: each becomes (d0 s0² + d s²) / (d0 + d), where s0² is the typical
    one among all arms. None becomes smaller, because then the interval of an arm that is noisier than the others would
    miss too often. s0² comes from the median, and with two arms from the smaller variance, so that a remedy that ruins
    some of its trainings does not make the others look noisy.

    Args:
        spreads: of differences to the same base, in one measure.
    Source: the form is that of Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3(1); d0 is
    fixed, because it cannot be estimated from few arms.
    """
    known = [spread for spread in spreads if spread.degrees > 0 and isfinite(spread.run_variance)]
    if len(known) < 2:
        return [estimate_own_noise(spread) for spread in spreads]
    seen = [spread.run_variance / _compute_variance_median(spread.degrees) for spread in known]
    usual = min(seen) if len(seen) == 2 else median(seen)
    noises = []
    for spread in spreads:
        own = spread.run_variance
        shared = (OTHERS_WEIGHT * usual + spread.degrees * own) / (OTHERS_WEIGHT + spread.degrees)
        noises.append(RunNoise(max(shared, own), spread.degrees + OTHERS_DEGREES))
    return noises


def _compute_variance_median(degrees: float) -> float:
    """Return the median of a variance whose mean is 1 (Wilson and Hilferty 1931, PNAS 17(12))."""
    return (1 - 2 / (9 * degrees)) ** 3
