"""Copies are found among real digits and photos, and images that merely look alike are not called copies."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.worker.ingest.uploads import encoded
from worker.ingest.audit.copies import HOWS, are_copies_in_place, build_relations, confirm, find_copies
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import list_copy_findings
from worker.ingest.audit.scan import Scan, scan
from worker.ingest.audit.signatures import compute_signatures, convert_to_gray, find_near_pairs
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool


def make_dataset(folder: Path, images: np.ndarray, labels=None, splits=None, value_range=(0, 255)) -> IngestedDataset:
    """Write images to a file. By default, the last two are the validation and test splits."""
    count = len(images)
    pixels = Pixels.create(folder / "images.npy", images.shape, images.dtype)
    pixels.write(0, np.ascontiguousarray(images).reshape(-1).view(np.uint8).data)
    labels = np.zeros(count, np.int32) if labels is None else np.asarray(labels, np.int32)
    rows = np.arange(count)
    splits = splits or {"train": rows[:-2], "validation": rows[-2:-1], "test": rows[-1:]}
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return IngestedDataset(pixels, labels, splits, classes, [f"{row}.png" for row in rows], value_range)


def scan_dataset(dataset: IngestedDataset) -> Scan:
    return scan(dataset, ProcessPool(1))


def find_copies_in(folder: Path, images: np.ndarray):
    dataset = make_dataset(folder, images)
    return find_copies(dataset, scan_dataset(dataset), ProcessPool(1))


def list_pairs(copies) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in copies.near}


@pytest.fixture(scope="module")
def photos():
    """Real photos, cut into overlapping tiles of 96×96 pixels."""
    tiles = []
    for image in load_sample_images().images:
        for top in range(0, 384, 64):
            for left in range(0, 512, 64):
                tiles.append(image[top : top + 96, left : left + 96])
    # Tiles of empty sky differ only in noise: not even a person could recognize copies.
    return np.stack([tile for tile in tiles if tile.shape == (96, 96, 3) and convert_to_gray(tile[None]).std() > 25])


# --- signatures propose --------------------------------------------------------------------------


def test_a_mirrored_image_has_the_same_signature_except_for_a_sign(mnist5k, photos):
    for images in (mnist5k.images[:100], photos[:20]):
        plain, mirrored = compute_signatures(images), compute_signatures(images[:, :, ::-1])
        assert np.allclose(plain.even, mirrored.even, atol=2e-3)
        assert np.allclose(plain.odd, -mirrored.odd.astype(np.float32), atol=2e-3)
        assert np.allclose(plain.frames * [1, -1, 1, 1], mirrored.frames, atol=1e-3)


def test_nearly_all_nearest_rows_are_found():
    """The search finds at least 98% of the nearest pairs that comparing all rows of hundreds of clusters would find."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 16))[random.integers(0, 300, 3000)] + random.normal(0, 0.1, (3000, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    pairs, is_bounded = find_near_pairs(rows, np.full(3000, 0.9, np.float32))
    alike = rows @ rows.T - 9 * np.eye(3000, dtype=np.float32)
    nearest = alike.argmax(axis=1)
    wanted = {tuple(sorted(pair)) for pair in enumerate(nearest.tolist()) if alike[pair] >= 0.9}
    found = {tuple(pair) for pair in pairs.tolist()}
    assert not is_bounded
    assert len(wanted & found) >= 0.98 * len(wanted)
    assert all(alike[pair] >= 0.9 for pair in found)
    assert pairs.tolist() == sorted(pairs.tolist())


def test_no_digit_is_called_a_copy_although_many_look_alike(tmp_path, mnist5k):
    found = find_copies_in(tmp_path, mnist5k.images)
    assert len(found.near) == 0
    assert np.all(found.original == np.arange(5000))
    assert not found.is_bounded


@pytest.mark.proof
def test_no_two_digits_are_copies_in_any_alignment(mnist5k):
    """A million pairs are compared: each digit with its 200 nearest, plain and mirrored."""
    images = mnist5k.images
    seen = compute_signatures(images)
    even, odd = seen.even.astype(np.float32), seen.odd.astype(np.float32)
    for first in range(0, 5000, 50):
        block = np.arange(first, first + 50)
        for is_mirrored, sign in ((False, 1), (True, -1)):
            alike = even[block] @ even.T + sign * odd[block] @ odd.T
            alike[np.arange(50), block] = -9
            other = np.argsort(-alike, axis=1)[:, :100].reshape(-1)
            digit = np.repeat(block, 100)
            frames = seen.frames[digit], seen.frames[other]
            turned = np.full(len(digit), is_mirrored)
            assert not confirm(images[digit], images[other], frames, turned).are_copies.any()


def test_no_two_digits_are_similar_enough_to_be_confirmed(mnist5k):
    """The thresholds are far from all 12.5 million pairs, including those that no signature proposes."""
    flat = mnist5k.images.reshape(5000, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = np.triu(flat @ flat.T, 1)
    assert alike.max() < 0.985
    first, second = np.unravel_index(np.argpartition(alike.reshape(-1), -500)[-500:], alike.shape)
    assert not are_copies_in_place(mnist5k.images[first], mnist5k.images[second]).any()


# --- pixels confirm ------------------------------------------------------------------------------


def encode_again(image: np.ndarray, how: str) -> np.ndarray:
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
def test_a_re_encoded_picture_is_found(tmp_path, mnist5k, photos, source, how):
    images = mnist5k.images[::10] if source == "digits" else photos
    changed = np.stack([encode_again(image, how) for image in images])
    found = list_pairs(find_copies_in(tmp_path, np.concatenate([images, changed])))
    wanted = {(row, row + len(images)) for row in range(len(images))}
    differing = {pair for pair in wanted if not np.array_equal(images[pair[0]], changed[pair[0]])}
    # Noise of this strength hides the thin strokes of some digits.
    assert len(found & differing) >= (0.92 if (source, how) == ("digits", "noisy") else 0.95) * len(differing)
    assert found <= wanted


# --- moved, scaled and mirrored ------------------------------------------------------------------


def move(image: np.ndarray, how: str) -> np.ndarray:
    """Change the image; new pixels at a border repeat the border."""
    height, width, _ = image.shape
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    margin = 4
    match how:
        case "shifted":
            return np.pad(image, ((1, 0), (0, 1), (0, 0)), mode="edge")[:height, 1:]
        case "mirrored":
            return image[:, ::-1]
        case "mirrored and shifted":
            return move(move(image, "mirrored"), "shifted")
        case "shifted and brightened":
            return np.clip(move(image, "shifted").astype(int) + 6, 0, 255).astype(np.uint8)
        case "cropped":
            picture = picture.resize((width, height), Image.Resampling.BICUBIC, box=(1, 0, width, height - 1))
        case "smaller":
            padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
            picture = Image.fromarray(padded[..., 0] if image.shape[2] == 1 else padded)
            box = (margin - 1, margin - 1, width + margin + 1, height + margin + 1)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture).reshape(image.shape)


KINDS = {
    "shifted": "shifted",
    "shifted and brightened": "shifted",
    "mirrored": "mirrored",
    "mirrored and shifted": "mirrored",
    "cropped": "scaled or cropped",
    "smaller": "scaled or cropped",
}


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("source", ["digits", "photos"])
def test_a_moved_picture_is_found_with_the_kind_of_move(tmp_path, mnist5k, photos, source, how):
    images = mnist5k.images[::20] if source == "digits" else photos
    found = find_copies_in(tmp_path, np.concatenate([images, np.stack([move(image, how) for image in images])]))
    wanted = {(row, row + len(images)) for row in range(len(images))}
    pairs = [tuple(pair) for pair in found.near.tolist()]
    assert len(wanted.intersection(pairs)) >= (0.98 if source == "digits" else 0.9) * len(wanted)
    if source == "digits":  # tiles of one photo overlap
        assert wanted.issuperset(pairs)
        assert np.mean([HOWS[kind] == KINDS[how] for kind in found.how]) >= 0.97


def test_shifted_and_brightened_copies_in_half_of_the_test_split_are_reported(tmp_path, mnist5k):
    images = mnist5k.images[::10].copy()  # 500: 300 train, 75 validation, 125 test
    images[375:437] = [move(image, "shifted and brightened") for image in images[:62]]
    leak = find_findings(tmp_path, images, np.zeros(500), make_splits(300, 75, 125))["leakage"]
    assert leak.severity == "critical"
    numbers = leak.numbers["test_in_train"]
    assert numbers == {"images": 62, "exact": 0, "near": 62, "how": {"shifted": 62}, "share": 0.496}
    assert leak.explanation.startswith(
        "62 of 125 test images (50%) also appear in the training set (62 shifted). A network"
    )


def test_many_copies_form_no_giant_cluster(tmp_path, mnist5k):
    """Each of 60 digits occurs five times with different shifts; each cluster is one of these digits."""
    plain = mnist5k.images[::50][:60]
    shifts = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]
    images = np.concatenate([np.roll(plain, shift, (1, 2)) for shift in shifts])
    clusters = build_relations(find_copies_in(tmp_path, images), None).copy_of
    assert clusters.tolist() == np.tile(np.arange(60), 5).tolist()


def test_pictures_of_similar_gradients_are_not_copies(tmp_path):
    """Each has its own gradient and noise, like photos of the sky."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    skies = [100 + 60 * y * random.uniform(0.8, 1.2) + 10 * x * random.uniform(0.8, 1.2) for _ in range(40)]
    images = np.stack(skies)[..., np.newaxis] + random.normal(0, 2, (40, 32, 32, 1))
    assert len(find_copies_in(tmp_path, images.clip(0, 255).astype(np.uint8)).near) == 0


def test_pictures_that_differ_only_in_color_are_not_copies(tmp_path, mnist5k):
    shapes = mnist5k.images[:20].astype(np.float32) / 255
    red, blue = np.array([255, 60, 60]), np.array([60, 60, 255])
    images = np.concatenate([255 - shapes * (255 - color) for color in (red, blue)]).astype(np.uint8)
    assert len(find_copies_in(tmp_path, images).near) == 0


def test_a_mirror_image_with_another_label_is_not_a_copy(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()
    images[80:90] = images[:10, :, ::-1]
    labels = np.zeros(100, np.int32)
    labels[80:85] = 1
    found = find_findings(tmp_path, images, labels, make_splits(60, 15, 25))
    assert found["leakage"].numbers["test_in_train"]["how"] == {"mirrored": 5}
    assert "label_conflicts" not in found


def test_pictures_of_a_straight_edge_are_hardly_ever_copies(tmp_path):
    """Each divides a square at another height and angle; edges with nearly the same angle look like moved copies."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    random = np.random.default_rng(0)
    edges = [y - random.uniform(-0.2, 0.2) * x > random.uniform(-0.3, 0.3) for _ in range(40)]
    images = (60 + 130 * np.stack(edges)[..., np.newaxis]).astype(np.uint8)
    assert len(find_copies_in(tmp_path, images).near) <= 2  # of 780 pairs


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (8, 8), (1, 64), (41, 37), (200, 20)])
def test_images_of_any_shape_are_compared(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (30, *shape, 3), dtype=np.uint8)
    images[20:] = np.roll(images[:10].astype(int) // 2 + 20, 1, axis=1)
    found = find_copies_in(tmp_path, images)
    assert {tuple(pair) for pair in found.near.tolist()} <= {(row, row + 20) for row in range(10)}


def test_two_processes_find_the_same_copies_as_one(tmp_path, mnist5k):
    images = np.concatenate([mnist5k.images[::4], np.roll(mnist5k.images[::4], 1, axis=1)])
    dataset = make_dataset(tmp_path, images)
    seen = scan_dataset(dataset)
    with ProcessPool(2) as pool:
        both = find_copies(dataset, seen, pool)
    alone = find_copies(dataset, seen, ProcessPool(1))
    assert np.array_equal(both.near, alone.near)
    assert np.array_equal(both.how, alone.how)
    assert len(alone.near) >= 1240


def test_overlapping_tiles_of_a_photo_are_not_copies(tmp_path, photos):
    """They share at most two thirds of their area."""
    assert len(find_copies_in(tmp_path, photos).near) == 0


def test_equal_pixels_have_one_original(tmp_path, mnist5k):
    images = mnist5k.images[:50].copy()
    images[[20, 30, 49]] = images[10]
    found = find_copies_in(tmp_path, images)
    assert found.original[[10, 20, 30, 49]].tolist() == [10] * 4
    assert (found.original != np.arange(50)).sum() == 3


def test_images_without_contrast_are_not_copies(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 1), dtype=np.uint8)
    images[5:10] = 7
    images[10:15] = np.random.default_rng(1).integers(100, 103, (5, 12, 12, 1))
    found = find_copies_in(tmp_path, images)
    assert np.all(found.original == np.arange(20))
    assert len(found.near) == 0


def test_a_thousand_equal_images_do_not_give_a_million_pairs(tmp_path, mnist5k):
    images = np.concatenate([np.repeat(mnist5k.images[:1], 1000, axis=0), mnist5k.images[1:20]])
    dataset = make_dataset(tmp_path, images)
    found = find_copies(dataset, scan_dataset(dataset), ProcessPool(1))
    [duplicates] = list_copy_findings(dataset, found)
    assert duplicates.numbers["train"]["exact"] == 999
    assert len(duplicates.pairs) <= 200


# --- what copies mean ----------------------------------------------------------------------------


def find_findings(folder: Path, images, labels, splits):
    dataset = make_dataset(folder, images, labels, splits)
    return {
        finding.code: finding
        for finding in list_copy_findings(dataset, find_copies(dataset, scan_dataset(dataset), ProcessPool(1)))
    }


def make_splits(*sizes: int) -> dict[str, np.ndarray]:
    ends = np.cumsum(sizes)
    return dict(zip(("train", "validation", "test"), np.split(np.arange(ends[-1]), ends[:-1]), strict=True))


def test_leaks_are_counted_by_held_out_image_and_shown_as_pairs(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()  # 100: 60 train, 15 validation, 25 test
    images[80] = images[5]  # test has train's, exactly
    images[81] = images[5]
    images[82] = encode_again(images[7], "jpeg")  # and nearly
    images[90] = images[70]  # test has validation's
    images[65] = images[9]  # validation has train's
    found = find_findings(tmp_path, images, np.zeros(100), make_splits(60, 15, 25))
    leak = found["leakage"]
    assert leak.severity == "critical"
    assert leak.numbers["test_in_train"] == {"images": 3, "exact": 2, "near": 1, "share": 0.12}
    assert leak.numbers["validation_in_train"] == {"images": 1, "exact": 1, "near": 0, "share": round(1 / 15, 6)}
    assert leak.numbers["test_in_validation"] == {"images": 1, "exact": 1, "near": 0, "share": 0.04}
    assert leak.explanation.startswith(
        "3 of 25 test images (12%) also appear in the training set. 1 of 15 validation images (7%) also appears in "
        "the training set. 1 of 25 test images (4%) also appears in the validation set."
    )
    shown = {(first.index, first.split, second.index, second.split) for first, second in leak.pairs}
    assert shown == {
        (5, "train", 80, "test"),
        (5, "train", 81, "test"),
        (7, "train", 82, "test"),
        (9, "train", 65, "validation"),
        (70, "validation", 90, "test"),
    }
    assert found["duplicates"].numbers["test"]["images"] == 1
    assert found["duplicates"].explanation.startswith("1 of 25 test images (4%) is a copy")


def test_a_copy_of_a_copy_leaks_too(tmp_path, mnist5k):
    """The first of several equal images may be in neither of the compared splits."""
    images = mnist5k.images[::50].copy()
    splits = {"validation": np.arange(0, 15), "train": np.arange(15, 75), "test": np.arange(75, 100)}
    images[[20, 80]] = images[3]
    images[85] = encode_again(images[3], "darker")
    found = find_findings(tmp_path, images, np.zeros(100), splits)
    assert found["leakage"].numbers["test_in_train"] == {"images": 2, "exact": 1, "near": 1, "share": 0.08}
    assert "in the validation set" in found["leakage"].explanation


def test_a_picture_with_two_labels_is_a_conflict_for_all_its_copies(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()
    labels = np.zeros(100, np.int32)
    images[[11, 12, 13]] = images[10]
    labels[12] = 1
    images[31] = encode_again(images[30], "jpeg")
    labels[31] = 2
    found = find_findings(tmp_path, images, labels, make_splits(60, 15, 25))
    conflicts = found["label_conflicts"]
    of_split = conflicts.numbers.pop("of_split")
    assert sum(of_split.values()) == 6
    assert conflicts.numbers == {"images": 6, "exact": 4, "near": 2, "share": 0.06}
    assert conflicts.explanation.startswith("6 of 100 images (6%) have a copy with another label.")
    for first, second in conflicts.pairs:
        assert labels[first.index] != labels[second.index]
    # Each contradiction with image 12 is reported once.
    assert [{first.index, second.index} for first, second in conflicts.pairs] == [
        {10, 12},
        {11, 12},
        {12, 13},
        {30, 31},
    ]
    assert "leakage" not in found


def test_an_image_with_two_labels_is_not_called_a_harmless_repetition(tmp_path, mnist5k):
    images = mnist5k.images[::50].copy()
    labels = np.zeros(100, np.int32)
    images[[11, 12]] = images[10]
    labels[12] = 1
    images[21] = images[20]
    found = find_findings(tmp_path, images, labels, make_splits(60, 15, 25))
    assert {image.index for pair in found["label_conflicts"].pairs for image in pair} == {10, 11, 12}
    assert [[image.index for image in pair] for pair in found["duplicates"].pairs] == [[20, 21]]
    assert found["duplicates"].numbers["train"] == {"images": 1, "exact": 1, "near": 0, "share": round(1 / 60, 6)}


def test_a_few_duplicates_give_an_info_and_many_a_warning(tmp_path, mnist5k):
    images = mnist5k.images[::10].copy()
    images[1] = images[0]
    (tmp_path / "few").mkdir()
    few = find_findings(tmp_path / "few", images, np.zeros(500), make_splits(300, 75, 125))["duplicates"]
    assert (few.severity, few.explanation) == (
        "info",
        "1 of 300 training images (0.3%) is a copy of another image of the same split with the same label. So few "
        "hardly change a result.",
    )
    assert few.what_to_do.startswith("No action is needed")
    images[2:20] = images[0]
    (tmp_path / "many").mkdir()
    many = find_findings(tmp_path / "many", images, np.zeros(500), make_splits(300, 75, 125))["duplicates"]
    assert many.severity == "warning"
    assert "larger than it is" in many.explanation


def test_a_clean_set_has_no_finding_about_copies(tmp_path, mnist5k):
    assert find_findings(tmp_path, mnist5k.images[:100], np.zeros(100), make_splits(60, 15, 25)) == {}
