"""Which images an experiment uses: nothing is lost or used twice, and what belongs together stays together."""

import numpy as np
import pytest

from analysis.arrays.experiment_splits import change_splits
from analysis.arrays.relations import Relations
from heldout.work.kinds import ExperimentSpec
from tests.models.work import spec

COUNT = 1000
LABELS = np.arange(COUNT, dtype=np.int32) % 5
OWN = {"train": np.arange(0, 700), "validation": np.arange(700, 800), "test": np.arange(800, 1000)}


def experiment(**fields):
    return ExperimentSpec(**spec().model_dump(), proves="job_1", variant="x", **fields)


@pytest.mark.parametrize(("again", "untouched"), [("all", []), ("train_and_validation", ["test"])])
def test_all_images_are_divided_again_into_splits_of_the_same_sizes(again, untouched):
    splits = change_splits(OWN, LABELS, experiment(splits_again=again), None)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(COUNT))
    for name, own in OWN.items():
        assert abs(len(splits[name]) - len(own)) <= COUNT // 20
        assert np.array_equal(splits[name], own) == (name in untouched)
        if name not in untouched:
            assert np.bincount(LABELS[splits[name]]).min() > 0.7 * len(splits[name]) / 5
    again_the_same = change_splits(OWN, LABELS, experiment(splits_again=again), None)
    assert all(np.array_equal(splits[name], again_the_same[name]) for name in splits)


def test_copies_and_groups_stay_in_one_split():
    copy_of = np.arange(COUNT, dtype=np.int32)
    copy_of[800:] = np.arange(200)  # each test image is a copy of a training image
    splits = change_splits(OWN, LABELS, experiment(splits_again="all"), Relations(copy_of))
    of = np.full(COUNT, -1)
    for number, rows in enumerate(splits.values()):
        of[rows] = number
    assert (of[800:] == of[:200]).all()


def test_images_are_left_out_of_training_alone():
    splits = change_splits(OWN, LABELS, experiment(leave_out=(3, 5, 750)), None)
    assert set(OWN["train"]) - set(splits["train"].tolist()) == {3, 5}
    assert np.array_equal(splits["validation"], OWN["validation"])
