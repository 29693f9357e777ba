"""Several models combined into one by averaging their probabilities."""

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from heldout.statistics import compute_mean_interval, compute_wilson_interval
from heldout.views.study import TestFiguresView
from heldout.views.study_figures import IntervalsView


class Ensemble:
    """Adds up the members' answers to the same images; keeps only sums.

    Args:
        labels: (images,) positions of classes, of at least one image.
    """

    def __init__(self, labels: NDArray[np.int32]) -> None:
        self._labels = labels
        self._members = 0
        self._probabilities: NDArray[np.float64] | None = None
        # Label probabilities from exact losses: a probability in float32 may have been rounded to zero.
        self._log_sum = np.full(len(labels), -np.inf)

    def add(self, predictions: Predictions) -> None:
        """Add one more member's answers."""
        self._members += 1
        if self._probabilities is None:
            self._probabilities = predictions.probabilities.astype(np.float64)
        else:
            self._probabilities += predictions.probabilities
        self._log_sum = np.logaddexp(self._log_sum, -predictions.losses.astype(np.float64))

    def losses(self) -> NDArray[np.float64]:
        """Return (images,) cross-entropies in nats of the mean probabilities."""
        return np.asarray(np.log(self._members) - self._log_sum)

    def right(self) -> NDArray[np.bool_]:
        """Return (images,) whether the class with the highest mean probability is the label."""
        assert self._probabilities is not None, "an ensemble has members"
        return np.asarray(self._probabilities.argmax(axis=1) == self._labels)

    def figures(self) -> TestFiguresView:
        """Loss and accuracy, with intervals over images."""
        losses, right = self.losses(), self.right()
        count, correct = len(right), int(right.sum())
        loss, is_known = float(losses.mean()), count > 1 and bool(np.isfinite(losses).all())
        return TestFiguresView(
            loss=loss,
            accuracy=correct / count,
            count=count,
            intervals=IntervalsView(
                loss=compute_mean_interval(loss, float(losses.var(ddof=1)), count) if is_known else None,
                accuracy=compute_wilson_interval(correct, count),
            ),
        )
