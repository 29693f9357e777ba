"""Two models on the same images: how much one is worse, image by image, with an interval."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Predictions

RESAMPLES = 2000
_MAX_VALUES_IN_MEMORY = 1_000_000  # values of resamples that are in memory together


def compared(one: Predictions, other: Predictions, labels: NDArray[np.int32]) -> dict[str, Any]:
    """How much worse `one` is than `other` on the same images, of which there must be at least two.

    Args:
        labels: (count,) positions of classes.
    Returns:
        count: images; accuracy: difference (positive where `one` answers fewer rightly), interval, and p, McNemar's
        exact one, of two sides; loss: difference in nats and interval. Intervals are those of 95% of a bootstrap over
        the images, seeded.
    """
    # Imported here: SciPy takes half a second to import, and few jobs need it.
    from scipy.stats import binomtest

    right, right_other = (model.probabilities.argmax(axis=1) == labels for model in (one, other))
    only_one, only_other = int((right & ~right_other).sum()), int((right_other & ~right).sum())
    differ = only_one + only_other
    losses = one.losses.astype(np.float64) - other.losses
    return {
        "count": len(labels),
        "accuracy": {
            **_mean_of(right_other.astype(np.float64) - right),
            "p": float(binomtest(only_other, differ).pvalue) if differ else 1.0,
        },
        "loss": _mean_of(losses),
    }


def _mean_of(differences: NDArray[np.float64]) -> dict[str, Any]:
    from scipy.stats import bootstrap

    mean = float(differences.mean())
    if not differences.any():
        return {"difference": mean, "interval": [0.0, 0.0]}
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _MAX_VALUES_IN_MEMORY // len(differences)),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return {"difference": mean, "interval": [float(low), float(high)]}
