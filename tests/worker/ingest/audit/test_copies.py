"""Copies are found among real digits and photos, and nothing that only looks alike is called one."""

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.worker.ingest.uploads import encoded
from worker.ingest.audit.copies import are_copies, find_copies
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import copy_findings
from worker.ingest.audit.scan import Scan, grey, hashes_of, low_frequencies, scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool


def dataset_of(folder: Path, images: np.ndarray, labels=None, splits=None, value_range=(0, 255)) -> IngestedDataset:
    """Images in a file, all of them in train but the last two, which the other splits have."""
    count = len(images)
    pixels = Pixels.create(folder / "images.npy", images.shape, images.dtype)
    pixels.write(0, np.ascontiguousarray(images).reshape(-1).view(np.uint8).data)
    labels = np.zeros(count, np.int32) if labels is None else np.asarray(labels, np.int32)
    rows = np.arange(count)
    splits = splits or {"train": rows[:-2], "validation": rows[-2:-1], "test": rows[-1:]}
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return IngestedDataset(pixels, labels, splits, classes, [f"{row}.png" for row in rows], value_range)


def scanned(dataset: IngestedDataset) -> Scan:
    return scan(dataset, ProcessPool(1), lambda done: None)


def copies_of(folder: Path, images: np.ndarray):
    dataset = dataset_of(folder, images)
    return find_copies(dataset.pixels, scanned(dataset), dataset.value_range)


def pairs_of(copies) -> set[tuple[int, int]]:
    return {(int(one), int(other)) for one, other in copies.near}


@pytest.fixture(scope="module")
def photos():
    """Real photos, cut into tiles of 96×96 pixels that overlap."""
    tiles = []
    for image in load_sample_images().images:
        for top in range(0, 384, 64):
            for left in range(0, 512, 64):
                tiles.append(image[top : top + 96, left : left + 96])
    # Empty sky is all alike but for its noise: not even a person could tell copies there.
    return np.stack([tile for tile in tiles if tile.shape == (96, 96, 3) and grey(tile[None]).std() > 25])


# --- hashes propose ------------------------------------------------------------------------------


def test_hashes_are_those_of_imagehash_but_for_rounding(mnist5k):
    images = mnist5k.images[:1000]
    mine = np.unpackbits(hashes_of(low_frequencies(grey(images))).view(np.uint8).reshape(-1, 8), axis=1)
    theirs = np.array([imagehash.phash(Image.fromarray(image[..., 0])).hash.reshape(-1) for image in images])
    differing = (mine != theirs).sum(axis=1)
    assert np.mean(differing == 0) > 0.6
    assert np.mean(differing <= 2) > 0.95
    assert differing.max() <= 8


def test_no_digit_is_called_a_copy_though_hashes_call_many(tmp_path, mnist5k):
    test = mnist5k.images[mnist5k.splits["test"]]
    hashes = np.array([imagehash.phash(Image.fromarray(image[..., 0])).hash.reshape(-1) for image in test])
    distances = (hashes[:, None] != hashes[None]).sum(axis=2) + 64 * np.eye(len(test), dtype=int)
    assert (distances.min(axis=1) <= 4).sum() > 100  # of 1,000
    found = copies_of(tmp_path, test)
    assert len(found.near) == 0
    assert np.all(found.original == np.arange(len(test)))
    assert len(copies_of(tmp_path, mnist5k.images).near) == 0


def test_no_two_of_all_digits_are_alike_enough_to_be_confirmed(mnist5k):
    """Not even where no hash proposes them: the thresholds keep their distance from all 12.5 million pairs."""
    flat = mnist5k.images.reshape(5000, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = np.triu(flat @ flat.T, 1)
    assert alike.max() < 0.985
    one, other = np.unravel_index(np.argsort(alike.reshape(-1))[-500:], alike.shape)
    assert not are_copies(mnist5k.images[one], mnist5k.images[other]).any()


# --- pixels confirm ------------------------------------------------------------------------------


def again(image: np.ndarray, how: str) -> np.ndarray:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    match how:
        case "jpeg":
            picture = Image.open(io.BytesIO(encoded(picture, "JPEG", quality=80)))
        case "resized":
            side = picture.width
            picture = picture.resize((side * 2, side * 2), Image.Resampling.LANCZOS).resize(
                (side, side), Image.Resampling.BOX
            )
        case "darker":
            picture = picture.point(lambda value: value * 0.8)
        case "noisy":
            noise = np.random.default_rng(int(image.sum()) % 2**32).normal(0, 4, image.shape)
            return np.clip(image + noise, 0, 255).round().astype(np.uint8)
    return np.asarray(picture).reshape(image.shape)


@pytest.mark.parametrize("how", ["jpeg", "darker", "noisy", "resized"])
@pytest.mark.parametrize("source", ["digits", "photos"])
def test_a_picture_that_was_encoded_again_is_found(tmp_path, mnist5k, photos, source, how):
    images = mnist5k.images[::10] if source == "digits" else photos
    changed = np.stack([again(image, how) for image in images])
    found = pairs_of(copies_of(tmp_path, np.concatenate([images, changed])))
    wanted = {(row, row + len(images)) for row in range(len(images))}
    differing = {pair for pair in wanted if not np.array_equal(images[pair[0]], changed[pair[0]])}
    assert len(found & differing) >= 0.95 * len(differing)
    assert found <= wanted


def test_tiles_of_one_photo_are_not_copies_of_each_other(tmp_path, photos):
    assert len(copies_of(tmp_path, photos).near) == 0


def test_equal_pixels_have_one_original(tmp_path, mnist5k):
    images = mnist5k.images[:50].copy()
    images[[20, 30, 49]] = images[10]
    found = copies_of(tmp_path, images)
    assert found.original[[10, 20, 30, 49]].tolist() == [10] * 4
    assert (found.original != np.arange(50)).sum() == 3


def test_images_without_contrast_are_no_copies(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 1), dtype=np.uint8)
    images[5:10] = 7
    images[10:15] = np.random.default_rng(1).integers(100, 103, (5, 12, 12, 1))
    found = copies_of(tmp_path, images)
    assert np.all(found.original == np.arange(20))
    assert len(found.near) == 0


def test_a_thousand_equal_images_take_no_thousand_squared_pairs(tmp_path, mnist5k):
    images = np.concatenate([np.repeat(mnist5k.images[:1], 1000, axis=0), mnist5k.images[1:20]])
    dataset = dataset_of(tmp_path, images)
    found = find_copies(dataset.pixels, scanned(dataset), dataset.value_range)
    [duplicates] = copy_findings(dataset, found)
    assert duplicates.numbers["train"]["exact"] == 999
    assert len(duplicates.pairs) <= 200


# --- what copies mean ----------------------------------------------------------------------------


def findings(folder: Path, images, labels, splits):
    dataset = dataset_of(folder, images, labels, splits)
    return {
        finding.code: finding
        for finding in copy_findings(dataset, find_copies(dataset.pixels, scanned(dataset), (0, 255)))
    }


def three(*sizes: int) -> dict[str, np.ndarray]:
    ends = np.cumsum(sizes)
    return dict(zip(("train", "validation", "test"), np.split(np.arange(ends[-1]), ends[:-1]), strict=True))


def test_leaks_are_counted_by_held_out_image_and_shown_in_pairs(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()  # 100: 60 train, 15 validation, 25 test
    images[80] = images[5]  # test has train's, exactly
    images[81] = images[5]
    images[82] = again(images[7], "jpeg")  # and nearly
    images[90] = images[70]  # test has validation's
    images[65] = images[9]  # validation has train's
    found = findings(tmp_path, images, np.zeros(100), three(60, 15, 25))
    leak = found["leakage"]
    assert leak.severity == "critical"
    assert leak.numbers["test_in_train"] == {"images": 3, "exact": 2, "near": 1, "share": 0.12}
    assert leak.numbers["validation_in_train"] == {"images": 1, "exact": 1, "near": 0, "share": round(1 / 15, 6)}
    assert leak.numbers["test_in_validation"] == {"images": 1, "exact": 1, "near": 0, "share": 0.04}
    assert leak.explanation.startswith(
        "3 of 25 test images (12 %) also appear in the training set. 1 of 15 validation images (7 %) also appears in "
        "the training set. 1 of 25 test images (4 %) also appears in the validation set."
    )
    shown = {(one.index, one.split, other.index, other.split) for one, other in leak.pairs}
    assert shown == {
        (5, "train", 80, "test"),
        (5, "train", 81, "test"),
        (7, "train", 82, "test"),
        (9, "train", 65, "validation"),
        (70, "validation", 90, "test"),
    }
    assert found["duplicates"].numbers["test"]["images"] == 1
    assert found["duplicates"].explanation.startswith("1 of 25 test images (4 %) is a copy")


def test_a_copy_of_a_copy_leaks_too(tmp_path, mnist5k):
    """The first of equal images may be in neither of the two splits that are compared."""
    images = mnist5k.images[::50].copy()
    splits = {"validation": np.arange(0, 15), "train": np.arange(15, 75), "test": np.arange(75, 100)}
    images[[20, 80]] = images[3]
    images[85] = again(images[3], "darker")
    found = findings(tmp_path, images, np.zeros(100), splits)
    assert found["leakage"].numbers["test_in_train"] == {"images": 2, "exact": 1, "near": 1, "share": 0.08}
    assert "in the validation set" in found["leakage"].explanation


def test_one_picture_under_two_labels_is_a_conflict_for_all_of_its_images(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()
    labels = np.zeros(100, np.int32)
    images[[11, 12, 13]] = images[10]
    labels[12] = 1
    images[31] = again(images[30], "jpeg")
    labels[31] = 2
    found = findings(tmp_path, images, labels, three(60, 15, 25))
    conflicts = found["label_conflicts"]
    assert conflicts.numbers == {"images": 6, "exact": 4, "near": 2, "share": 0.06}
    assert conflicts.explanation.startswith("6 of 100 images (6 %) have a copy with another label.")
    for one, other in conflicts.pairs:
        assert labels[one.index] != labels[other.index]
    # The copies of one picture each contradict 12, and 12 contradicts them: that is said once.
    assert [{one.index, other.index} for one, other in conflicts.pairs] == [{10, 12}, {11, 12}, {12, 13}, {30, 31}]
    assert "leakage" not in found


def test_a_few_repetitions_are_no_alarm_and_many_are(tmp_path, mnist5k):
    images = mnist5k.images[::10].copy()
    images[1] = images[0]
    (tmp_path / "few").mkdir()
    few = findings(tmp_path / "few", images, np.zeros(500), three(300, 75, 125))["duplicates"]
    assert (few.severity, few.explanation) == (
        "info",
        "1 of 300 training images (0.3 %) is a copy of another image of the same split. So few hardly change a result.",
    )
    assert few.what_to_do.startswith("Nothing has to be done")
    images[2:20] = images[0]
    (tmp_path / "many").mkdir()
    many = findings(tmp_path / "many", images, np.zeros(500), three(300, 75, 125))["duplicates"]
    assert many.severity == "warning"
    assert "larger than it is" in many.explanation


def test_a_clean_set_has_no_finding_about_copies(tmp_path, mnist5k):
    assert findings(tmp_path, mnist5k.images[:100], np.zeros(100), three(60, 15, 25)) == {}
