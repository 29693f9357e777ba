"""Estimates how many labels are wrong, from confident networks that disagree with labels. Pure.

A wrong label is as likely on an easy image as on a hard one. An error of the networks is not: the more confident they
are, the rarer it is. So images are ordered by the networks' confidence, and the share of labels that they
disagree with is followed to where they are most confident. What remains there is the share of wrong labels; the excess
at lower confidence comes from hard images. Which images have wrong labels is measured with planted ones: `planting.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The share of labels that networks disagree with, at a rank from 0 (the most confident) to 1: w + (1 - w) a rank^b.
SHARES = np.concatenate([np.arange(0, 0.1, 0.0025), np.arange(0.1, 1.005, 0.01)])
# No larger share of all labels is considered: networks that have learned nothing would look like labels that are all
# wrong. In a single split all may be wrong, for example with classes in another order, because the other splits show
# what the networks know.
MAX_OF_ALL = 0.655
ERRORS = np.concatenate([[0.005, 0.01, 0.02, 0.04], np.arange(0.06, 1.0, 0.06), [1.0]])
POWERS = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5])
BINS = 40
# The range has the shares whose log-likelihood is lower than the best one by at most this. It is half the 95% point of
# the chi-squared distribution with one degree of freedom.
LIKELIHOOD_DROP = 1.92
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
    said: NDArray[np.floating], labels: NDArray[np.int32], parts: Mapping[str, NDArray[np.integer]]
) -> Estimated:
    """Estimate the share of wrong labels from where networks disagree with labels.

    The curve assumes that all parts have equally hard images: parts of one dataset differ in their labels.

    Args:
        said: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
        parts: positions of the images of each part.
    """
    ranks = np.empty(len(labels), np.int64)
    ranks[np.argsort(-said.max(axis=1), kind="stable")] = np.arange(len(labels))
    bins = np.minimum(ranks * BINS // len(labels), BINS - 1)
    disagrees = said.argmax(axis=1) != labels
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
    errors: NDArray[np.float64] = (ERRORS[:, None, None] * middles ** POWERS[None, :, None]).reshape(-1, BINS)
    return errors


def _log_likelihoods(disagrees: NDArray[np.bool_], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (shares, curves) the expected disagreement of the networks."""
    wrong = np.bincount(bins, disagrees, BINS)
    right = np.bincount(bins, minlength=BINS) - wrong
    expected = SHARES[:, None, None] + (1 - SHARES[:, None, None]) * _compute_errors()
    expected = expected.clip(1e-4, 1 - 1e-4)
    found: NDArray[np.float64] = np.log(expected) @ wrong + np.log(1 - expected) @ right
    return found


def _find_range(likelihoods: NDArray[np.float64]) -> WrongShare:
    inside = np.flatnonzero(likelihoods >= np.max(likelihoods) - LIKELIHOOD_DROP)
    # The range ends between these shares and the next ones.
    low, high = max(0, inside[0] - 1), min(len(likelihoods) - 1, inside[-1] + 1)
    likeliest = np.argmax(likelihoods - np.log(SHARES[: len(likelihoods)] + FEW))
    return WrongShare(float(SHARES[likeliest]), float(SHARES[low]), float(SHARES[high]))
