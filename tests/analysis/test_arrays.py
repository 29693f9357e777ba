"""The internal format of datasets, and the content address, which covers everything that a training can see."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.arrays import dataset as arrays
from analysis.arrays.dataset import FILES, SPLITS, ImageSet, compute_content_address, compute_split_digests, load, save
from tests.models.work import dots


def changed(array: np.ndarray, index: tuple[int, ...] | int, value: int) -> np.ndarray:
    copy = array.copy()
    copy[index] = value
    return copy


CHANGES = {
    "a pixel": lambda d: replace(d, images=changed(d.images, (5, 3, 3, 0), 7)),
    "the shape": lambda d: replace(d, images=d.images.reshape(6, 2, 8, 1)),
    "the pixels' type": lambda d: replace(d, images=d.images.view(np.int8)),
    "the order of images": lambda d: replace(d, images=d.images[::-1]),
    "a label": lambda d: replace(d, labels=changed(d.labels, 5, 0)),
    "a class's name": lambda d: replace(d, classes=("even", "Odd")),
    "the order of classes": lambda d: replace(d, classes=("odd", "even")),
    "another class": lambda d: replace(d, classes=("even", "odd", "neither")),
    "the range": lambda d: replace(d, value_range=(0, 254)),
    "an image's split": lambda d: replace(d, splits={**d.splits, "train": np.array([0]), "test": np.array([1, 4, 5])}),
    "two splits' names": lambda d: replace(
        d, splits={"train": d.splits["test"], "validation": d.splits["validation"], "test": d.splits["train"]}
    ),
    "the border of two splits": lambda d: replace(
        d, splits={"train": np.array([0]), "validation": np.array([1, 2, 3]), "test": d.splits["test"]}
    ),
    "an image that no split has": lambda d: replace(d, splits={**d.splits, "train": np.array([0])}),
    "the order of training": lambda d: replace(d, splits={**d.splits, "train": np.array([1, 0])}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_that_a_training_can_see_changes_the_address(change):
    other = CHANGES[change](dots())
    assert compute_content_address(other) != compute_content_address(dots())
    assert compute_content_address(CHANGES[change](dots())) == compute_content_address(other)


def test_every_change_has_its_own_address():
    addresses = {compute_content_address(change(dots())) for change in CHANGES.values()}
    assert len(addresses) == len(CHANGES)


def test_the_memory_layout_of_arrays_does_not_matter():
    plain = dots()
    spread = replace(
        plain,
        images=np.asfortranarray(plain.images),
        labels=np.repeat(plain.labels, 2)[::2],
        splits={name: indices.astype(np.int32) for name, indices in plain.splits.items()},
    )
    assert compute_content_address(spread) == compute_content_address(plain)


# --- the digest of a split -----------------------------------------------------------------------


def moved(d: ImageSet) -> ImageSet:
    """Return another dataset that has the same test images at other positions, and other class names."""
    unlike = 255 - d.images[:1]
    return ImageSet(
        np.concatenate([unlike, d.images[d.splits["test"]], unlike]),
        np.concatenate([[1], d.labels[d.splits["test"]], [0]]).astype(np.int32),
        {"train": np.array([0]), "validation": np.array([len(d.splits["test"]) + 1]), "test": np.array([1, 2])},
        ("straight", "odd"),
        (0, 254),
    )


def test_the_same_images_and_labels_have_the_same_digest_in_another_version():
    before, after = compute_split_digests(dots()), compute_split_digests(moved(dots()))
    assert list(before) == list(SPLITS)
    assert after["test"] == before["test"]
    assert after["train"] != before["train"]
    assert after["validation"] != before["validation"]


TEST_CHANGES = {
    "a pixel": lambda d: replace(d, images=changed(d.images, (5, 3, 3, 0), 7)),
    "the shape": lambda d: replace(d, images=d.images.reshape(6, 2, 8, 1)),
    "the pixels' type": lambda d: replace(d, images=d.images.view(np.int8)),
    "a label": lambda d: replace(d, labels=changed(d.labels, 5, 0)),
    "the order": lambda d: replace(d, splits={**d.splits, "test": d.splits["test"][::-1]}),
    "one image fewer": lambda d: replace(d, splits={**d.splits, "test": d.splits["test"][:-1]}),
}


@pytest.mark.parametrize("change", TEST_CHANGES)
def test_a_change_of_the_split_changes_its_digest(change):
    assert compute_split_digests(TEST_CHANGES[change](dots()))["test"] != compute_split_digests(dots())["test"]


def test_the_order_of_images_with_one_label_counts_too():
    one_label = replace(dots(), labels=np.zeros(6, np.int32))
    turned = replace(one_label, splits={**dots().splits, "test": dots().splits["test"][::-1]})
    assert compute_split_digests(turned)["test"] != compute_split_digests(one_label)["test"]


def test_other_splits_do_not_change_the_digest():
    first = dots().splits["train"][0]
    other = replace(dots(), images=changed(dots().images, (first, 0, 0, 0), 99))
    before, after = compute_split_digests(dots()), compute_split_digests(other)
    assert [split for split in SPLITS if before[split] != after[split]] == ["train"]


def test_the_digest_does_not_depend_on_how_many_images_are_read_at_once(monkeypatch, tmp_path):
    save(many(), tmp_path)
    whole = compute_split_digests(many())
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 100)
    assert compute_split_digests(load(tmp_path)) == whole


def many(count: int = 2500) -> ImageSet:
    """Return more images than are hashed at a time."""
    random = np.random.default_rng(1)
    order = random.permutation(count)
    return ImageSet(
        random.integers(0, 256, (count, 5, 3, 2), np.uint8),
        random.integers(0, 3, count).astype(np.int32),
        dict(zip(SPLITS, np.split(np.sort(order), [1500, 2000]), strict=True)),
        ("a", "ä", "猫"),
        (0, 255),
    )


@pytest.mark.parametrize("images", [dots(), many()], ids=["few", "many"])
def test_a_saved_dataset_is_loaded_exactly(tmp_path, images):
    save(images, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(FILES)
    found = load(tmp_path)
    assert np.array_equal(found.images, images.images)
    assert found.images.dtype == images.images.dtype
    assert np.array_equal(found.labels, images.labels)
    assert all(np.array_equal(found.splits[split], images.splits[split]) for split in SPLITS)
    assert (found.classes, tuple(found.value_range)) == (images.classes, images.value_range)
    assert compute_content_address(found) == compute_content_address(images)


def test_pixels_are_memory_mapped_and_read_only(tmp_path):
    save(many(), tmp_path)
    found = load(tmp_path)
    assert isinstance(found.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0


def test_the_shape_is_that_of_one_image():
    assert many().shape == (5, 3, 2)
