"""Estimates of how long jobs take, from the pace of earlier trainings."""

import pytest

from analysis.scheduling.fair_share import OwnerStanding
from analysis.scheduling.queueing import (
    ASSUMED_AROUND_EPOCHS_S,
    ASSUMED_RUNTIME_S,
    EndedJob,
    OwnersQueue,
    RunningJob,
    TrainingPace,
    compute_pace,
    count_most_at_once,
    estimate_remaining_s,
    estimate_seconds_until_start,
)


def test_forty_short_jobs_on_two_slots_take_as_long_as_earlier_short_jobs():
    # An epoch should take 20 ms and takes 60; the rest of the second is the start and the end of a training.
    pace = compute_pace([EndedJob(taken_s=1.2, epochs_s=0.06, expected_s=0.02)] * 3)
    assert pace.duration_s(0.02) == pytest.approx(1.2)
    queue = OwnersQueue(OwnerStanding(), 40, [pace.duration_s(0.02)] * 40)
    running = [RunningJob(left_s, left_s - 1.2, "other") for left_s in (0.6, 1.2)]
    assert estimate_seconds_until_start(running, "own", {"own": queue}) == pytest.approx(24.6)


def test_a_long_job_is_estimated_with_the_slowness_of_short_jobs():
    pace = compute_pace([EndedJob(2.0, 1.0, 0.5), EndedJob(3.0, 2.0, 1.0), EndedJob(50.0, 1.0, None)])
    assert pace == TrainingPace(around_epochs_s=1.0, slowness=2.0, runtime_s=3.0)
    assert pace.duration_s(100.0) == 201
    assert pace.duration_s(None) == 3


def test_without_earlier_trainings_defaults_are_assumed():
    assert compute_pace([]).duration_s(10.0) == 10 + ASSUMED_AROUND_EPOCHS_S
    assert compute_pace([]).duration_s(None) == ASSUMED_RUNTIME_S


def test_a_running_jobs_own_estimate_is_used_plus_the_time_of_its_end():
    pace = TrainingPace(around_epochs_s=2.0, slowness=1.0, runtime_s=7.0)
    assert estimate_remaining_s(pace, 100.0, elapsed_s=5.0, eta_s=30.0) == 31
    assert estimate_remaining_s(pace, 100.0, elapsed_s=5.0, eta_s=None) == 97
    assert estimate_remaining_s(pace, None, elapsed_s=5.0, eta_s=None) == 2
    assert estimate_remaining_s(pace, 1.0, elapsed_s=5.0, eta_s=None) == 0


def test_consecutive_jobs_do_not_overlap():
    assert count_most_at_once([]) == 0
    assert count_most_at_once([(0, 1), (1, 2), (2, 3)]) == 1
    assert count_most_at_once([(0, 5), (1, 2), (3, 4), (3.5, 6)]) == 3
