"""Short forms of the simulations behind docs/measurements/coverage.md."""

from dataclasses import replace

import pytest

from benchmarks.studies.coverage import Setting, coverage, world_of
from benchmarks.studies.false_cures import conclusions, null_world, stages_of

SETTINGS = [
    Setting(6, 3, 200, 1.0, equal=True),
    Setting(6, 3, 1000, 4.0, equal=False),
    Setting(6, 3, 40, 1.0, equal=True, folds=10),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_single_intervals_cover_their_truth_and_adjusted_intervals_cover_all_at_once(setting: Setting) -> None:
    for found in coverage(setting, 80).values():
        assert 0.92 <= found.single <= 0.985
        assert found.family >= 0.93


@pytest.mark.parametrize("setting", [Setting(6, 3, 200, 1.0, equal=True), Setting(6, 3, 40, 1.0, equal=True, folds=10)])
def test_studies_rarely_name_a_false_cure_and_find_a_real_one(setting: Setting) -> None:
    world = null_world(setting)
    kinds, _ = conclusions(world, 3, 30)
    assert kinds["cure"] <= 3
    continued, _ = conclusions(world, 3, 10, stages_of(world, is_continued=True))
    assert continued["cure"] <= 1

    real = world_of(replace(setting, images=10 * setting.images))
    best = real.arms[1]
    kinds, share = conclusions(replace(real, accuracy={best: 0.06}, loss={best: -0.3}, tails={}), 3, 6)
    assert kinds["cure"] >= 5
    assert share < 0.75
