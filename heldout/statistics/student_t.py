"""Quantiles of Student's t distribution, so that a light client does not need SciPy."""

from math import exp, lgamma, log, log1p, pi
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
    """The probability of a larger value."""
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
    """The continued fraction of the incomplete beta function, by Lentz's method."""
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
