"""Predictions of networks whose accuracy is known, as PyTorch returns them: float32 logits through a softmax."""

import numpy as np
from scipy.special import softmax

CLASSES = 10


def predicted(accuracy: float, count: int, seed: int, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and (count, classes) probabilities whose largest is the label with this chance."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    answers = np.where(draw.random(count) < accuracy, labels, (labels + draw.integers(1, classes, count)) % classes)
    logits = draw.normal(0, 1, (count, classes)).astype(np.float32)
    logits[np.arange(count), answers] += 6 + draw.exponential(1, count)
    return labels, softmax(logits, axis=1)


def arrays(**splits: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz`."""
    return {
        f"{split}_{what}": array
        for split, pair in splits.items()
        for what, array in zip(("labels", "probabilities"), pair, strict=True)
    }
