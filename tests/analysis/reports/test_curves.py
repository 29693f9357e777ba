"""Curves of an arm: the mean and the range over its trainings."""

import numpy as np

from analysis.reports.courses import MAX_POINTS, EpochFigures, build_curve


def test_each_epoch_averages_the_trainings_that_reached_it():
    accuracies = np.random.default_rng(0).uniform(0.5, 1, (3, 6))
    jobs = [f"job_{number}" for number in range(3)]
    lengths = (6, 6, 4)  # the last training stopped early
    epochs = {
        job: [EpochFigures(epoch + 1, 0.9, float(row[epoch]), 0.1, None) for epoch in range(length)]
        for job, row, length in zip(jobs, accuracies, lengths, strict=True)
    }
    curve = build_curve([*jobs, "job_not_begun"], epochs)
    assert [point.trainings for point in curve] == [3, 3, 3, 3, 2, 2]
    for point, column, count in zip(curve, accuracies.T, (3, 3, 3, 3, 2, 2), strict=True):
        shown = point.validation_accuracy
        np.testing.assert_allclose(
            (shown.mean, shown.low, shown.high), (column[:count].mean(), column[:count].min(), column[:count].max())
        )
        assert point.validation_loss is None


def test_a_long_curve_is_thinned_and_keeps_both_ends():
    epochs = {"job_1": [EpochFigures(epoch, 0.9, 0.8, 0.1, 0.2) for epoch in range(1, 1001)]}
    numbers = [point.epoch for point in build_curve(["job_1"], epochs)]
    assert len(numbers) == MAX_POINTS
    assert (numbers[0], numbers[-1]) == (1, 1000)
    assert max(np.diff(numbers)) <= 9
