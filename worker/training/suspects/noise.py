"""Which labels are wrong: a model of true and given labels, fitted to what networks say of unseen images. Pure.

The given label of an image is drawn from its true class by a matrix of confusions, which nobody knows. What the
networks say, made softer or sharper, is taken for the probability of the true class. Temperature and confusions are
fitted to the given labels by maximum likelihood, with a prior that labels are right. So an image that is merely hard
is not suspected: where two classes are alike, a given label that is one of them is believed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Pseudo-counts of the prior: of right labels, spread over classes, and of each confusion.
PRIOR_RIGHT = 50.0
PRIOR_WRONG = 0.05
TEMPERATURES = np.geomspace(0.5, 4.0, 13)
ROUNDS = 60
SMALLEST = 1e-6
FLOOR = 1e-4


@dataclass(frozen=True)
class Judged:
    """What the model says of each image.

    wrong: (images,) probability that its label is wrong.
    log_odds: (images,) of the same, for ranking: probabilities near 1 are alike.
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
    logs = np.log(np.maximum(said.astype(np.float64), SMALLEST))
    best: tuple[float, NDArray[np.float64]] | None = None
    for temperature in TEMPERATURES:
        true = _softmax(logs / temperature)
        likelihood, belief = _fitted(true, labels)
        if best is None or likelihood > best[0]:
            best = likelihood, belief
    assert best is not None
    belief = best[1]
    rows = np.arange(len(labels))
    right = belief[rows, labels]
    others = belief.copy()
    others[rows, labels] = -1
    wrong = np.maximum(1 - right, 0.0)
    with np.errstate(divide="ignore"):
        odds = np.log(others.clip(0).sum(axis=1)) - np.log(right)
    return Judged(wrong, odds, others.argmax(axis=1).astype(np.int32))


def _fitted(true: NDArray[np.float64], labels: NDArray[np.int32]) -> tuple[float, NDArray[np.float64]]:
    """The likelihood under the best confusions, and (images, classes) what is then believed of the true classes."""
    classes = true.shape[1]
    prior = np.full((classes, classes), PRIOR_WRONG) + np.eye(classes) * PRIOR_RIGHT / classes
    given = np.eye(classes)[labels]
    confusions = 0.9 * np.eye(classes) + 0.1 / classes
    for _ in range(ROUNDS):
        joint = true * confusions[:, labels].T
        total = joint.sum(axis=1, keepdims=True)
        belief = joint / total
        counts = belief.T @ given + prior
        confusions = counts / counts.sum(axis=1, keepdims=True)
    joint = true * confusions[:, labels].T
    total = joint.sum(axis=1, keepdims=True)
    objective = np.log(total).sum() + (prior * np.log(confusions)).sum()
    return float(objective), joint / total


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softened: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return softened
