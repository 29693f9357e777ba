"""A cure is named only if it is confirmed by seeds that did not choose it."""

import numpy as np

from analysis.studies.racing import Look, list_cures
from analysis.studies.state import Scores

IMAGES = 600


def trainings(losses: list[float]) -> list[Scores]:
    """Make one training for each mean loss, all with the same images and correct answers."""
    noise = np.random.default_rng(0).normal(0, 0.01, IMAGES)
    images, right = np.arange(IMAGES, dtype=np.int32), np.arange(IMAGES) % 10 > 0
    return [Scores(images, (loss + noise).astype(np.float32), right, 0.1, 1.0, 1000, 5) for loss in losses]


def last_look(fresh: float) -> Look:
    """Compare a base of loss 1 with a remedy of loss 0.8 on seven seeds and `fresh` on the eighth."""
    scores = {"base": trainings([1.0] * 8), "dropout": trainings([0.8, 0.81, 0.79, 0.8, 0.8, 0.81, 0.79, fresh])}
    return Look(scores, {}, None, seeds=8, seeds_before=7, error=0.05, last_error=0.05, last_seeds=8)


def test_a_remedy_that_fresh_seeds_do_not_confirm_is_not_a_cure_yet():
    relapsed = last_look(fresh=1.01)
    assert list_cures(relapsed, unconfirmed=True) == ["dropout"]
    assert list_cures(relapsed, unconfirmed=False) == []
    assert list_cures(last_look(fresh=0.8), unconfirmed=False) == ["dropout"]
