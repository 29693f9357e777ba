"""Adding images makes a new version, in which the existing images keep their pixels, labels and places."""

from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, load
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.uploads import ALONE, arrays_of, encoded, noise, npz, pictures, taken, tarred, zipped
from worker.ingest.pipeline import run
from worker.ingest.rejection import Rejection
from worker.ingest.sources.stored import read_base

ADDING = DatasetSpec(name="pets", adds_to="pets@1")


@pytest.fixture
def base(tmp_path):
    """20 images of 12×10, and their version."""
    _, folder = taken(zipped(tmp_path / "base.zip", pictures(10)))
    return read_base(folder, folder / "members.txt", "pets@1", "0" * 64, [(0, 11)])


def add(base, path: Path, spec: DatasetSpec = ADDING):
    """Add an upload to `base`; return the report, the images and their names."""
    target = path.parent / f"{path.name}-target"
    return run(path, spec, target, ALONE, base=base), load(target), (target / "members.txt").read_text().splitlines()


def test_existing_images_come_first_with_their_labels_names_and_splits(tmp_path, base):
    files = {f"more/dog/{number}.png": encoded(noise((12, 10), 500 + number)) for number in range(4)}
    report, images, names = add(
        base, tarred(tmp_path / "more.tar", {**files, "more/cat/9.png": encoded(noise((12, 10), 9))})
    )
    assert np.array_equal(images.images[:20], base.images.images)
    assert np.array_equal(images.labels[:20], base.images.labels)
    assert names == [*base.names, "more/cat/9.png", *files]
    assert [images.classes[label] for label in images.labels[20:]] == ["cat", "dog", "dog", "dog", "dog"]
    for number in range(4):
        assert np.array_equal(images.images[21 + number, :, :, 0], noise((12, 10), 500 + number))
    for split in ("validation", "test"):
        assert np.array_equal(images.splits[split], base.images.splits[split])
    assert images.splits["train"].tolist() == [*base.images.splits["train"], *range(20, 25)]
    assert report.different == ((0, 11),)


@pytest.mark.parametrize("split", SPLITS)
def test_images_go_to_the_split_of_their_folder(tmp_path, base, split):
    path = zipped(tmp_path / "more.zip", {f"{split}/cat/new.png": encoded(noise((12, 10), 77))})
    _, images, _ = add(base, path)
    assert 20 in images.splits[split]
    assert [len(images.splits[name]) - len(base.images.splits[name]) for name in SPLITS] == [
        name == split for name in SPLITS
    ]


def test_one_class_is_enough_and_new_classes_come_last(tmp_path, base):
    _, images, _ = add(base, zipped(tmp_path / "more.zip", {"ant/1.png": encoded(noise((12, 10), 78))}))
    assert images.classes == ("cat", "dog", "ant")
    assert images.labels[20] == 2


def test_new_images_get_the_size_and_channels_of_existing_images(tmp_path, base):
    _, images, _ = add(base, zipped(tmp_path / "more.zip", {"cat/large.png": encoded(noise((24, 20, 3), 79))}))
    assert images.images.shape == (21, 12, 10, 1)


def test_broken_files_are_skipped_on_request(tmp_path, base):
    files = {"cat/bad.png": b"\x89PNG\r\n\x1a\n", "cat/good.png": encoded(noise((12, 10), 80))}
    _, images, names = add(base, zipped(tmp_path / "more.zip", files), ADDING.model_copy(update={"skip_broken": True}))
    assert (len(images.labels), names[20:]) == (21, ["cat/good.png"])


def test_arrays_with_other_values_are_refused(tmp_path, base):
    arrays = arrays_of(10)
    with pytest.raises(Rejection, match="Save them alike") as caught:
        add(base, npz(tmp_path / "more.npz", x=arrays["x"] / np.float32(255), y=arrays["y"]))
    assert caught.value.code.value == "mixed_sizes"
