"""Labels of tasks other than one class per image are refused with an alternative."""

import numpy as np
import pytest

from heldout.words.labels import MEASURED_VALUES, OTHER_TASK, SEVERAL_LABELS
from tests.worker.ingest.uploads import npz, rejection_of

IMAGES = np.random.default_rng(0).integers(0, 255, (12, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("labels", "alternative"),
    [
        (np.tile([1, 0, 1], (12, 1)), SEVERAL_LABELS),
        (np.linspace(0, 1, 12), MEASURED_VALUES),
        (np.zeros((12, 8, 8), int), OTHER_TASK),
    ],
    ids=["several labels", "regression", "masks"],
)
def test_labels_of_another_task_are_refused_with_an_alternative_that_is_never_argmax(tmp_path, labels, alternative):
    detail = rejection_of(npz(tmp_path / "a.npz", x=IMAGES, y=labels)).detail
    assert detail.endswith(alternative)
    assert "argmax" not in detail


def test_one_hot_rows_are_distinguished_from_several_labels(tmp_path):
    one_hot = np.eye(3, dtype=int)[np.arange(12) % 3]
    assert rejection_of(npz(tmp_path / "a.npz", x=IMAGES, y=one_hot)).detail.endswith("y.argmax(axis=1).")
