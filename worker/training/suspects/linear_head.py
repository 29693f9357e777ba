"""The search for wrong labels with linear heads on the features of a pretrained network.

Each image is judged by heads that were trained without it and without the images that belong to it.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from analysis.arrays.features import normalize
from analysis.arrays.folds import assign_folds
from worker.training.suspects.estimate import is_trusted

FOLDS = 4
# The second round does not train on the suspects of the first. Both are counted.
ROUNDS = 2
# Directions of the features that heads are trained on, and the inverse strength of their penalty.
COMPONENTS, INVERSE_PENALTY, ITERATIONS = 256, 0.1, 200


def predict_from_features(
    features: NDArray[np.floating], labels: NDArray[np.int32], classes: int, units: NDArray[np.int64], seed: int
) -> NDArray[np.float32]:
    """Return (images, classes) probabilities by heads that were trained without the image.

    Args:
        features: (images, features) by a pretrained network.
        units: (images,) a number for each unit of images that belong together.
    """
    reduced = _reduce(features)
    folds_count = min(FOLDS, len(np.unique(units)))
    may_train = np.ones(len(labels), np.bool_)
    probabilities = np.zeros((len(labels), classes), np.float32)
    for round_ in range(ROUNDS):
        folds = assign_folds(labels, np.arange(len(labels)), units, folds=folds_count, seed=ROUNDS * seed + round_)
        for fold in range(folds_count):
            others, judged = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            trusted = others[may_train[others]]
            rows = trusted if len(trusted) else others
            probabilities[judged] += _predict(reduced[rows], labels[rows], reduced[judged], classes) / ROUNDS
        may_train = is_trusted(probabilities / probabilities.sum(axis=1, keepdims=True), labels, seed)
    return probabilities


def _reduce(features: NDArray[np.floating]) -> NDArray[np.float32]:
    normalized = normalize(features)
    components = min(COMPONENTS, len(normalized) - 1, normalized.shape[1])
    reduced = PCA(components, svd_solver="randomized", random_state=0).fit_transform(normalized)
    return np.asarray(reduced / max(float(reduced.std(axis=0).mean()), 1e-6), np.float32)


def _predict(
    features: NDArray[np.float32], labels: NDArray[np.int32], judged: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """Return (judged, classes) probabilities. Classes without training images get none."""
    probabilities = np.zeros((len(judged), classes), np.float32)
    known = np.unique(labels)
    if len(known) == 1:
        probabilities[:, known[0]] = 1
        return probabilities
    head = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS).fit(features, labels)
    probabilities[:, known] = head.predict_proba(judged)
    return probabilities
