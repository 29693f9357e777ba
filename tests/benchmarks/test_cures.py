"""The recorded trainings of studies can be reproduced, and the records are complete and fair."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cures import archive, curves, replay, tuners
from benchmarks.cures.__main__ import tables
from benchmarks.cures.conditions import NETWORKS, SEALED, SEEDS, all_conditions
from benchmarks.cures.record import summed
from benchmarks.cures.sets import study_set
from benchmarks.cures.trained import Arm
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec

GRIDS, CURVES = 13, 31  # the fewest that are kept
MAX_BYTES = 6_000_000
PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "recorded-trainings.md"
# Small images and few steps, whose figures are least sensitive to changes of first weights by a millionth, as on other
# processors. Losses of single images change by at most 0.001 on average, and no answer of a thousand changes.
AGAIN = {"digits-8-small-600": ("base", "dropout"), "digits-8-wide-100": ("base",), "mnist5k-28-small-100": ("base",)}
CHEAPEST = "digits-8-wide-100"
LOSS, ANSWERS = 0.005, 0.005
# The conditions that were drawn to be sealed before any study was replayed. Two of the five were never recorded.
DRAWN = {
    "animals-14-double-1000",
    "animals-14-wide-300",
    "fashion_mnist-14-double-500",
    "mnist5k-14-small-500",
    "mnist5k-14-wide-150",
}


@pytest.mark.parametrize(
    "key", [key if key == CHEAPEST else pytest.param(key, marks=pytest.mark.proof) for key in AGAIN]
)
def test_training_again_reproduces_the_records(key):
    condition = next(condition for condition in all_conditions() if condition.key == key)
    studied = study_set(condition.dataset, condition.side, condition.train, condition.validation, condition.draw)
    kept = replay.grid(condition)
    for name in AGAIN[key]:
        arm = Arm(condition.spec(name, 0), studied)
        for seed in (0, 1):
            again, before = arm.train(name, seed, condition.spec(name, seed)), kept[name, seed]
            assert (again.training_seed, again.fold, again.epoch) == (before.training_seed, before.fold, before.epoch)
            assert np.array_equal(again.rows, before.rows)
            assert np.abs(again.losses - before.losses).mean() < LOSS, (name, seed)
            blocks = np.abs(summed(again.referee_losses) - before.referee_losses)
            assert blocks.sum() / len(before.referee_correct) < LOSS, (name, seed)
            assert (again.referee_correct != before.referee_correct).mean() <= ANSWERS, (name, seed)
            assert again.train_loss == pytest.approx(before.train_loss, abs=LOSS)


def test_every_grid_is_complete_paired_and_judged_by_unseen_images():
    recorded = replay.conditions()
    assert len(recorded) >= GRIDS
    for condition in recorded:
        trainings, patches = replay.trainings(condition), replay.remedies(condition)
        assert len(patches) >= 10
        assert {*replay.grid(condition)} == {(arm, seed) for arm in replay.recorded(condition).arms for seed in SEEDS}
        base = {training.seed: training for training in trainings if training.arm == "base"}
        for training in trainings:
            # The referee's images come first in each set; studies draw from the rest.
            assert training.rows.min() >= len(training.referee_correct)
            assert np.array_equal(training.rows, base[training.seed].rows)
            is_null = training.arm in replay.null_arms(condition) and training.arm != "base"
            assert (training.training_seed == training.seed) is not is_null
            assert len(training.losses) == len(training.correct) == len(training.rows)
            assert 1 <= training.epoch <= training.epochs == len(training.validation_curve)
            assert np.isfinite(training.losses).all()
        folds = {tuple((training.fold or {}).values()) for training in trainings}
        assert len(folds) == (1 if condition.folds is None else len(SEEDS))
        spec = JobSpec.model_validate(merge(replay.recorded(condition).base, {"training": {"seed": 0}}))
        for patch in patches.values():
            assert JobSpec.model_validate(merge(spec.model_dump(mode="json"), patch)) != spec


def test_the_sealed_conditions_were_drawn_and_are_left_out_when_rules_are_chosen():
    assert DRAWN & {condition.key for condition in all_conditions()} == SEALED
    assert {condition.key for condition in replay.conditions()} == {condition.key for condition in all_conditions()}
    assert not {condition.key for condition in replay.conditions(sealed=False)} & SEALED
    assert {condition.network for condition in all_conditions()} == {*NETWORKS}


def test_the_sizes_of_a_learning_curve_double():
    kept = replay.curves()
    assert len(kept) >= CURVES
    for points in kept.values():
        counts = Counter(point.images for point in points)
        sizes = sorted(counts)
        assert {*counts.values()} == {len(curves.SEEDS)}
        assert [larger // 2 for larger in sizes[1:]] == sizes[:-1]


def test_the_choices_of_tuners_are_complete_and_a_missing_tuner_is_named(monkeypatch):
    kept = json.loads(tuners.FILE.read_text(encoding="utf-8"))
    assert {*kept} <= {condition.key for condition in replay.conditions()}
    for chosen in kept.values():
        assert len(chosen["trainings"]) == tuners.SEARCHES
        for choice in chosen["choices"].values():
            assert sum(choice["arms"].values()) == tuners.SEARCHES
            assert {*choice["arms"]} <= {"base", *chosen["remedies"]}
            assert 0 < choice["used"] <= 1
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match="pip install optuna"):
        tuners.main(["run"])


def test_the_records_are_small_and_described_on_the_page():
    files = [*archive.FOLDER.glob("*.npz"), *curves.FILE.parent.glob(curves.FILE.name)]
    assert sum(file.stat().st_size for file in files) < MAX_BYTES
    page = PAGE.read_text(encoding="utf-8")
    assert [line for line in tables() if line not in page] == []
    assert f"{len(replay.curves())} learning curves" in page
