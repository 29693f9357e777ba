"""Reports on a study between its looks: provisional means, and a time left that never grows."""

import numpy as np
import pytest

from analysis.studies.interim_progress import add_provisional_means, estimate_left_s
from analysis.studies.state import Scores

# A recorded study of three networks on two cores: when each training ended, in seconds after the first start.
ENDED_S = (22.3, 23.0, 44.0, 45.7, 65.6, 68.8, 86.4, 90.0, 100.0, 117.1, 118.0, 132.9, 133.6)
# The most trainings still possible then. One arm was dropped after the first look, another after the second.
MOST = (25,) * 8 + (20,) * 4 + (13,)


def test_the_time_left_of_a_recorded_study_never_grows_and_is_never_too_short():
    left_s, estimates_s = None, []
    for done, (ended_s, most) in enumerate(zip(ENDED_S, MOST, strict=True), start=1):
        left_s = estimate_left_s(most=most, done=done, elapsed_s=ended_s, before_s=left_s)
        estimates_s.append(left_s)
        assert left_s >= ENDED_S[-1] - ended_s
    assert estimates_s == sorted(estimates_s, reverse=True)
    assert estimates_s[0] == pytest.approx(24 * 22.3, abs=0.1)
    assert estimates_s[-1] == 0


def test_a_pause_does_not_increase_the_time_left():
    assert estimate_left_s(most=10, done=2, elapsed_s=10_000, before_s=80.0) == 80.0
    assert estimate_left_s(most=10, done=0, elapsed_s=5, before_s=None) is None


def test_arms_get_the_means_of_their_finished_trainings():
    arms = [{"name": name, "validation": None} for name in ("base", "l2", "dropout")]
    runs = [
        ("dropout", make_scores(right=[True, False], losses=[0.5, 1.5]).means),
        ("dropout", make_scores(right=[True, True], losses=[0.2, 0.2]).means),
    ]
    base, l2, dropout = add_provisional_means(arms, runs)
    assert dropout == arms[2] | {
        "provisional": {"seeds": 2, "accuracy": 0.75, "loss": pytest.approx(0.6), "objective": None}
    }
    assert (base["provisional"], l2["provisional"]) == (None, None)


def make_scores(*, right, losses):
    return Scores(np.arange(len(right), dtype=np.int32), np.float32(losses), np.array(right), 0.1, 0.9, 800, 3)
