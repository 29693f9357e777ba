"""Confidence intervals, and Student's t distribution, without SciPy."""

from bisect import bisect_left
from math import exp, lgamma, log, log1p, pi, sqrt
from statistics import NormalDist

# Degrees of freedom beyond which the first correction of the normal quantile is exact to 1e-9.
MANY_DEGREES = 1e5
RELATIVE_ERROR = 1e-13
# Replaces zero where a continued fraction would divide by it.
TINY = 1e-300


def compute_t_quantile(probability: float, degrees: float) -> float:
    """Compute the value below which Student's t lies with this probability.

    Args:
        probability: in [0.5, 1).
        degrees: degrees of freedom, above 0, not necessarily an integer.
    """
    z = NormalDist().inv_cdf(probability)
    if degrees > MANY_DEGREES:
        return z + (z**3 + z) / (4 * degrees)
    # The distribution function is concave above 0, and z is below the quantile: Newton's steps only go up.
    value, step = z, 1.0
    while step > RELATIVE_ERROR * max(1.0, value):
        step = (_compute_upper_tail(value, degrees) - (1 - probability)) / _compute_density(value, degrees)
        value += step
    return value


def _compute_density(value: float, degrees: float) -> float:
    scale = lgamma((degrees + 1) / 2) - lgamma(degrees / 2) - log(degrees * pi) / 2
    return exp(scale - (degrees + 1) / 2 * log1p(value * value / degrees))


def _compute_upper_tail(value: float, degrees: float) -> float:
    """Compute the probability of a larger value."""
    squared = value * value
    return _compute_incomplete_beta(degrees / (degrees + squared), squared / (degrees + squared), degrees / 2, 0.5) / 2


def _compute_incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """The regularized incomplete beta function of x; `rest` is 1 - x, passed separately to keep its precision."""
    if x <= 0.0 or rest <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _compute_beta_fraction(x, a, b) / a
    return 1 - front * _compute_beta_fraction(rest, b, a) / b


def _compute_beta_fraction(x: float, a: float, b: float) -> float:
    """Compute the continued fraction of the incomplete beta function, by Lentz's method."""
    numerator, denominator = 1.0, 1 / _avoid_zero(1 - (a + b) * x / (a + 1))
    result, change, term = denominator, 0.0, 0
    while abs(change - 1) > RELATIVE_ERROR:
        term += 1
        for factor in (
            term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term)),
            -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1)),
        ):
            denominator = 1 / _avoid_zero(1 + factor * denominator)
            numerator = _avoid_zero(1 + factor / numerator)
            change = numerator * denominator
            result *= change
    return result


def _avoid_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


# Halvings of [-1, 1] until a bound has the precision of a float.
_HALVINGS = 55


def compute_wilson_interval(correct: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of an accuracy, as fractions in [0, 1].

    Args:
        correct: images classified correctly, 0 <= correct <= total.
        total: images classified, at least 1.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if the counts are impossible.
    Source: Wilson 1927, JASA 22(158).
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"Received {correct} correct of {total}; expected 0 <= correct <= total and total >= 1.")
    share = correct / total
    center, spread = _compute_wilson(share, total, confidence)
    # At 0 and total the exact bounds are 0 and 1; rounding must not push them off.
    low = 0.0 if correct == 0 else max(0.0, center - spread)
    high = 1.0 if correct == total else min(1.0, center + spread)
    return low, high


def count_images_needed(share: float, half: float, confidence: float = 0.95) -> int:
    """Count the fewest images for which an accuracy of `share` has a Wilson interval of at most ± `half`.

    Args:
        share: in [0, 1].
        half: half of the interval's width, in (0, 0.5).
        confidence: coverage, in (0, 1).
    Source: Wilson 1927, as `compute_wilson_interval`, for shares that need not be whole counts.
    """
    counts = range(1, 2**62)
    return counts[bisect_left(counts, True, key=lambda count: _compute_wilson(share, count, confidence)[1] <= half)]


def _compute_wilson(share: float, total: float, confidence: float) -> tuple[float, float]:
    """Compute the middle of the interval, and half of its width, which falls with `total`."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    scale = 1 + z * z / total
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (share + z * z / (2 * total)) / scale, spread / scale


def compute_lower_tail(group: tuple[int, int], others: tuple[int, int]) -> float:
    """Compute how probable it is that a group has so few right answers or fewer, if it is like the others.

    Args:
        group, others: right answers and images of each.
    Source: Fisher 1935, The Logic of Inductive Inference (exact test, one-sided).
    """
    (right, count), (right_of_others, count_of_others) = group, others
    rights, images = right + right_of_others, count + count_of_others

    def choose(of: int, taken: int) -> float:
        return lgamma(of + 1) - lgamma(taken + 1) - lgamma(of - taken + 1)

    whole, total = choose(images, count), 0.0
    # Starts with the most probable of these, so that the sum can end once terms are too small to matter.
    for fewer in range(right, max(0, count - (images - rights)) - 1, -1):
        term = exp(choose(rights, fewer) + choose(images - rights, count - fewer) - whole)
        total += term
        if right * images < count * rights and term < RELATIVE_ERROR * total:
            break
    return min(1.0, total)


def compute_newcombe_interval(
    first: tuple[float, float], second: tuple[float, float], confidence: float = 0.95
) -> tuple[float, float]:
    """Bounds of the difference of two accuracies measured on different images, in [-1, 1].

    Args:
        first: correct and total images of the first accuracy.
        second: correct and total images of the accuracy to subtract.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if the counts are impossible.
    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (hybrid score).
    """
    low, high = compute_wilson_interval(*first, confidence)
    other_low, other_high = compute_wilson_interval(*second, confidence)
    share, other = first[0] / first[1], second[0] / second[1]
    difference = share - other
    below = sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return difference - below, difference + above


def compute_paired_interval(gained: int, lost: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the difference of two accuracies measured on the same images, in [-1, 1].

    Args:
        gained: images that only the first answers correctly.
        lost: images that only the second answers correctly.
        count: all images, at least gained + lost, and at least 1.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if the counts are impossible.
    Source: Tango 1998, Statistics in Medicine 17(8) (score interval).
    """
    if min(gained, lost) < 0 or gained + lost > count or count < 1:
        raise ValueError(f"Received {gained} gained and {lost} lost of {count}; expected at most all of 1 or more.")
    return -_find_paired_bound(lost, gained, count, confidence), _find_paired_bound(gained, lost, count, confidence)


def _find_paired_bound(gained: int, lost: int, count: int, confidence: float) -> float:
    """Find the largest difference that the counts do not contradict."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = (gained - lost) / count, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The most likely share of lost images if the difference were `middle`.
        b = (2 * count - gained + lost) * middle - gained - lost
        c = -lost * middle * (1 - middle)
        share = (sqrt(max(0.0, b * b - 8 * count * c)) - b) / (4 * count)
        deviation = sqrt(max(0.0, count * (2 * share + middle * (1 - middle))))
        low, high = (middle, high) if count * middle - gained + lost <= z * deviation else (low, middle)
    # Rounding must not push the exact bound 1 off.
    return 1.0 if gained == count else low


def compute_mean_interval(mean: float, variance: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a mean, for example of the differences of two losses on the same images.

    Args:
        mean, variance: mean and variance of the single values; the variance has divisor count - 1.
        count: number of values, at least 2.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if there are fewer than two values.
    Source: Student 1908, Biometrika 6(1).
    """
    if count < 2:
        raise ValueError(f"Received {count} values; expected at least 2.")
    half = compute_t_quantile(0.5 + confidence / 2, count - 1) * sqrt(variance / count)
    return mean - half, mean + half


def compute_welch_interval(
    first: tuple[float, float, float], second: tuple[float, float, float], confidence: float = 0.95
) -> tuple[float, float]:
    """Bounds of the difference of two means over different images, for example of two losses.

    Args:
        first: mean, variance (divisor count - 1) and count of the first values.
        second: the same for the values whose mean is subtracted.
        confidence: coverage, in (0, 1).
    Raises:
        ValueError: if either has fewer than two values.
    Source: Welch 1947, Biometrika 34(1-2).
    """
    if min(first[2], second[2]) < 2:
        raise ValueError(f"Received {first[2]} and {second[2]} values; expected at least 2 of each.")
    difference = first[0] - second[0]
    first_variance, second_variance = (variance / count for _, variance, count in (first, second))
    if first_variance + second_variance == 0:
        return difference, difference
    share = first_variance / (first_variance + second_variance)  # squares of the smallest variances would be 0
    degrees = 1 / (share**2 / (first[2] - 1) + (1 - share) ** 2 / (second[2] - 1))
    half = compute_t_quantile(0.5 + confidence / 2, degrees) * sqrt(first_variance + second_variance)
    return difference - half, difference + half


def includes_0(bounds: tuple[float, float] | None) -> bool:
    """Return whether a figure may be 0; true if it has no interval."""
    return bounds is None or bounds[0] <= 0 <= bounds[1]
