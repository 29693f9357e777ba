"""Which labels are wrong: a model of true and given labels, fitted to what networks say of unseen images. Pure.

The given label of an image is drawn from its true class by a matrix of confusions, which nobody knows. Networks learn
to say what label an image will be given, confusions included. So what they say is led back through the matrix and made
softer or sharper, to be the probability of the true class. The matrix is counted on the images that the networks are
surest of, then fitted to all; the temperature is the likeliest one. So the label of an image that is merely hard is
believed, and a confusion that a third of a class has is still found.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the images that networks take for a class, the share from which its confusions are first counted.
SURE_SHARE = 0.5
# The prior: right labels, as a share of a class and at most so many images; and how many images spread the wrong labels
# of a class over all others.
PRIOR_RIGHT_SHARE, PRIOR_RIGHT_IMAGES = 0.1, 20.0
PRIOR_SPREAD_IMAGES = 8.0
FITTING_STEPS = 6
TEMPERATURES = np.geomspace(0.25, 2.5, 10)
# No network is so sure that less is left for a class.
SMALLEST = 1e-6
# Networks that were trained alike err alike: none of them makes sure that a label is wrong.
SUREST = 0.99


@dataclass(frozen=True)
class Judged:
    """What the model says of each image.

    wrong: (images,) probability that its label is wrong, at most SUREST.
    log_odds: (images,) of the same without that limit, for ranking.
    suggested: (images,) the most probable true class other than the given one.
    """

    wrong: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    suggested: NDArray[np.int32]


def judge(said: NDArray[np.floating], labels: NDArray[np.int32]) -> Judged:
    """Judge the labels of images.

    Args:
        said: (images, classes) probabilities by networks that were trained without the image.
        labels: (images,) the given classes.
    """
    floored: NDArray[np.float64] = np.maximum(said.astype(np.float64), SMALLEST)
    prior = _prior(labels, said.shape[1])
    first = _confusions(_counts_of_sure(floored, labels), prior)
    likeliest, belief = -np.inf, floored
    for temperature in TEMPERATURES:
        likelihood, fitted = _fitted(floored, labels, first, prior, temperature)
        if likelihood > likeliest:
            likeliest, belief = likelihood, fitted
    rows = np.arange(len(labels))
    right = belief[rows, labels]
    belief[rows, labels] = 0
    wrong = belief.sum(axis=1)
    odds = np.log(np.maximum(wrong, 1e-300)) - np.log(np.maximum(right, 1e-300))
    return Judged(np.minimum(wrong, SUREST), odds, belief.argmax(axis=1).astype(np.int32))


def _prior(labels: NDArray[np.int32], classes: int) -> NDArray[np.float64]:
    """(classes,) images of each class that count as rightly labelled before anything is seen."""
    counts = np.bincount(labels, minlength=classes)
    return np.clip(PRIOR_RIGHT_SHARE * counts, 1.0, PRIOR_RIGHT_IMAGES)


def _counts_of_sure(said: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """(classes, classes) how often the images that networks are surest of, class by class, have each label."""
    answers, classes = said.argmax(axis=1), said.shape[1]
    counts = np.zeros((classes, classes))
    for own in range(classes):
        rows = np.flatnonzero(answers == own)
        surest = rows[np.argsort(-said[rows, own], kind="stable")[: int(np.ceil(SURE_SHARE * len(rows)))]]
        counts[own] = np.bincount(labels[surest], minlength=classes)
    return counts


def _confusions(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """(true, given) probabilities of the given label, from counts of images and the prior."""
    classes = len(counts)
    wrong = counts.sum(axis=1) - np.diag(counts)
    wrong_share = (wrong + 0.1) / (counts.sum(axis=1) + 0.1)
    spread = (PRIOR_SPREAD_IMAGES * wrong_share / max(1, classes - 1))[:, None] * (1 - np.eye(classes))
    with_prior = counts + spread + np.diag(prior)
    confusions: NDArray[np.float64] = with_prior / with_prior.sum(axis=1, keepdims=True)
    return confusions


def _fitted(
    said: NDArray[np.float64],
    labels: NDArray[np.int32],
    confusions: NDArray[np.float64],
    prior: NDArray[np.float64],
    temperature: float,
) -> tuple[float, NDArray[np.float64]]:
    """The likelihood of the labels, and (images, classes) what is then believed of the true classes."""
    of_class = [np.flatnonzero(labels == given) for given in range(said.shape[1])]
    for _ in range(FITTING_STEPS):
        belief = _joint(said, labels, confusions, temperature)
        belief /= belief.sum(axis=1, keepdims=True)
        confusions = _confusions(np.stack([belief[rows].sum(axis=0) for rows in of_class], axis=1), prior)
    joint = _joint(said, labels, confusions, temperature)
    total = joint.sum(axis=1, keepdims=True)
    return float(np.log(total).sum()), joint / total


def _joint(
    said: NDArray[np.float64], labels: NDArray[np.int32], confusions: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """(images, classes) probability of each true class together with the given label."""
    true = said @ np.linalg.pinv(confusions)
    true = np.maximum(true, 1e-3 * np.maximum(said, 1e-4))
    logits = np.log(true) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    joint: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True) * confusions[:, labels].T
    return joint
