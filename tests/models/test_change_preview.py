"""The predicted number of images that a fix removes or changes is what the worker then removes or changes."""

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, load
from analysis.arrays.relations import FILE_NAME, load_relations
from heldout.fixes.changes import VersionChanges
from heldout.spec.dataset import DatasetSpec
from models.change_preview import compute_effect, describe
from tests.worker.ingest.test_derive import with_copies
from tests.worker.ingest.uploads import ALONE, npz, taken
from worker.ingest.pipeline import derive
from worker.ingest.sources.stored import read_base

BODIES = [
    {"drop_copies": True},
    {"exclude": [3, 40, "x_test[2]"]},
    {"exclude": [10, 20], "drop_copies": True},
    {"relabel": {"0": "owl", "50": "cat"}},
    {"rename_classes": {"owl": "dog"}},
    {"rename_classes": {"test": {"cat": "dog", "dog": "cat"}}},
    {"pixel_values": {"test": "invert"}, "exclude": [1]},
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_the_predicted_effect_is_that_of_a_worker(tmp_path, body):
    report, base = taken(npz(tmp_path / "base.npz", **with_copies()), DatasetSpec(name="pets"))
    names = (base / "members.txt").read_text().split("\n")[:-1]
    before, changes = load(base), VersionChanges.model_validate(body)
    effect = compute_effect(
        changes,
        before.labels,
        before.splits,
        before.classes,
        load_relations(base / FILE_NAME).copy_of,
        {name: place for place, name in enumerate(names)},
    )
    target = tmp_path / "derived"
    version = read_base(base, base / "members.txt", "pets@1", report.sha256)
    derive(version, DatasetSpec(name="pets"), changes, target, ALONE)
    after, left = load(target), (target / "members.txt").read_text().split("\n")[:-1]
    assert [names[row] for row in effect.removed.tolist()] == [name for name in names if name not in set(left)]
    place = {name: row for row, name in enumerate(left)}
    differing = [
        row
        for row, name in enumerate(names)
        if name in place
        and (
            before.classes[before.labels[row]] != after.classes[after.labels[place[name]]]
            or not np.array_equal(before.images[row], after.images[place[name]])
        )
    ]
    assert effect.changed.tolist() == differing
    assert effect.is_complete


def test_a_renamed_class_changes_no_image_and_unknown_copies_are_reported(tmp_path):
    labels, rows = np.zeros(6, np.int32), np.arange(6)
    splits = dict(zip(SPLITS, np.split(rows, 3), strict=True))
    renamed = compute_effect(
        VersionChanges.model_validate({"rename_classes": {"cat": "lion"}}), labels, splits, ("cat", "dog"), None, {}
    )
    none = dict.fromkeys(SPLITS, 0)
    assert describe(renamed, none, none, none) == "Removes and changes no images."
    unknown = compute_effect(
        VersionChanges.model_validate({"drop_copies": True}), labels, splits, ("cat", "dog"), None, {}
    )
    assert not unknown.is_complete


def test_the_effect_is_reported_by_split_and_test_comes_first():
    changes = VersionChanges.model_validate({"exclude": [0], "resplit": True})
    rows = np.arange(30)
    splits = dict(zip(SPLITS, np.split(rows, 3), strict=True))
    effect = compute_effect(changes, np.zeros(30, np.int32), splits, ("cat", "dog"), None, {})
    words = describe(
        effect, {"train": 2, "validation": 0, "test": 1}, dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 10)
    )
    assert words == "Removes 1 of 10 test images and 2 of 10 training images. Splits all 27 images again."
