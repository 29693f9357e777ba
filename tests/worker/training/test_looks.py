"""Features of a dataset by a pretrained network, and what follows from them."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.neighbors import NearestNeighbors

from analysis.arrays.dataset import SPLITS, ImageSet, save
from analysis.arrays.features import find_neighbors, load_picture, normalize
from heldout.stored.looks import StoredLooks
from worker.messages import AssignedDataset, AssignedFeatures, FeaturesAssignment, FeaturesFound
from worker.training.looks import compute, run
from worker.training.looks.compute import choose_images, choose_size
from worker.training.looks.copies import HOWS, describe_copies, find_copies
from worker.training.looks.foreign import find_foreign_images
from worker.training.looks.name_groups import find_name_groups, measure_flattery

DRAWS = np.random.default_rng(5)


def make_images(count: int = 90, side: int = 8, channels: int = 3, classes: int = 3) -> ImageSet:
    pixels = DRAWS.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    splits = dict(zip(SPLITS, np.array_split(DRAWS.permutation(count), (count * 2 // 3, count * 5 // 6)), strict=True))
    names = tuple(f"class {number}" for number in range(classes))
    return ImageSet(pixels, (np.arange(count) % classes).astype(np.int32), splits, names, (0, 255))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that takes images of any size, in place of the pretrained one."""
    inputs = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(6, 3, strides=4, activation="relu", padding="same")(inputs)
    file = tmp_path_factory.mktemp("network") / "network.keras"
    keras.Model(inputs, maps).save(file)
    return file


def assign(images: ImageSet, network: Path, folder: Path, names: list[str] | None = None) -> FeaturesAssignment:
    for part in ("content", "scratch"):
        (folder / part).mkdir(exist_ok=True)
    save(images, folder / "content")
    listed = None
    if names is not None:
        listed = folder / "members.txt"
        listed.write_text("".join(f"{name}\n" for name in names))
    return FeaturesAssignment(
        dataset=AssignedDataset(folder / "content", "0" * 64, None, listed),
        scratch=folder / "scratch",
        model=network,
        model_name="small",
        model_sha256="1" * 64,
        cache=AssignedFeatures(folder / "cache", 2**30, "ann"),
        threads=2,
    )


def look(assignment: FeaturesAssignment) -> FeaturesFound:
    return run._look(assignment)


@pytest.mark.parametrize(("side", "channels", "size"), [(8, 1, 64), (512, 3, 128)])
def test_images_of_any_size_and_gray_ones_have_the_features_that_keras_gives(network, tmp_path, side, channels, size):
    images = make_images(12, side, channels)
    found = look(assign(images, network, tmp_path))
    rows = np.sort(np.concatenate(list(images.splits.values())))
    colored = np.broadcast_to(images.images[rows], (12, side, side, 3)).astype(np.float32)
    resized = keras.ops.image.resize(colored, (size, size), antialias=True)
    maps = keras.models.load_model(network)(resized)
    with np.load(found.features) as arrays:
        assert arrays["features"].dtype == np.float16
        np.testing.assert_allclose(arrays["features"], np.mean(maps, axis=(1, 2)), rtol=5e-3, atol=0.3)
        np.testing.assert_array_equal(arrays["ids"], rows)
    assert StoredLooks.from_bytes(found.looks.read_bytes()).seen_as == (size, size)


def test_a_later_attempt_computes_only_blocks_that_are_missing_and_leaves_nothing_behind(
    network, tmp_path, monkeypatch
):
    images, computed = make_images(70 * 4), list[int]()
    real = compute.make_compute

    def make_failing(*args):
        inner = real(*args)

        def compute_once(places: NDArray[np.int32]) -> NDArray[np.float32]:
            computed.append(len(places))
            if len(computed) == 2:
                raise KeyboardInterrupt  # the worker is stopped
            return inner(places)

        return compute_once

    monkeypatch.setattr(compute, "make_compute", make_failing)
    assignment = assign(images, network, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        look(assignment)
    resumed = look(assignment)
    assert computed == [
        128,
        128,
        128,
        32,
    ]  # 280 images: blocks of 32, four at a time, of which the first four were done
    assert not [entry for entry in (tmp_path / "cache").iterdir() if not entry.name.startswith(".")]
    monkeypatch.undo()
    again = look(assignment).features.read_bytes()
    assert again == resumed.features.read_bytes()


def test_of_many_images_a_sample_of_each_class_and_split_gets_features():
    images = make_images(900, classes=3)
    chosen = choose_images(images, 90)
    assert len(chosen) == 90
    assert (np.bincount(images.labels[chosen]) >= 29).all()
    assert len(np.intersect1d(chosen, images.splits["test"])) == 15


def test_small_images_are_enlarged_and_large_ones_reduced():
    assert [choose_size(*size) for size in ((8, 8), (48, 48), (64, 32), (1000, 500))] == [
        (64, 64),
        (96, 96),
        (128, 64),
        (128, 64),
    ]


def test_neighbors_are_those_of_scikit_learn():
    normalized = normalize(DRAWS.normal(size=(1100, 8)))
    found = find_neighbors(normalized, 5)
    expected = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(normalized)
    distances, rows = expected.kneighbors(normalized)
    np.testing.assert_array_equal(found.rows, rows[:, 1:])
    np.testing.assert_allclose(found.similarity, 1 - distances[:, 1:], atol=1e-5)


def make_series(
    count: int, of_each: int, classes: int, *, spread: float
) -> tuple[NDArray[np.float32], ImageSet, list[str]]:
    """Return features of series of images of one thing each, split at random, and names that number the series."""
    series = np.repeat(np.arange(count), of_each)
    labels = (series % classes).astype(np.int32)
    centers = 0.2 * DRAWS.normal(size=(classes, 16))[labels] + 2 * DRAWS.normal(size=(count, 16))[series]
    features = normalize(centers + spread * DRAWS.normal(size=(len(series), 16)))
    parts = np.array_split(DRAWS.permutation(len(series)), (len(series) * 2 // 3, len(series) * 5 // 6))
    names = [f"{label}/thing{number}_{row}.png" for row, (label, number) in enumerate(zip(labels, series, strict=True))]
    pixels = np.zeros((len(series), 2, 2, 1), np.uint8)
    classes_names = tuple(f"class {label}" for label in range(classes))
    return features, ImageSet(pixels, labels, dict(zip(SPLITS, parts, strict=True)), classes_names, (0, 255)), names


def test_series_in_file_names_are_a_question_with_pictures_a_rule_and_what_random_splits_flatter():
    features, images, names = make_series(40, 8, 2, spread=0.3)
    finding = find_name_groups(images, np.arange(320), features, names)
    assert finding is not None
    assert (finding.code, finding.severity) == ("names_suggest_groups", "warning")
    assert finding.numbers["groups"] == 40
    assert finding.numbers["mixed_accuracy"] == 1.0
    assert finding.numbers["flattery_interval"][0] > 0.05
    assert finding.explanation.startswith("Do these belong together?")
    assert finding.numbers["rule"] in finding.what_to_do
    for held, training in finding.pairs:
        assert (held.split == "train", training.split) == (False, "train")
        assert held.member.split("_")[0] == training.member.split("_")[0]


def test_names_whose_images_are_not_alike_suggest_nothing():
    features, images, names = make_series(40, 8, 2, spread=0.3)
    shuffled = np.concatenate([DRAWS.permutation(np.flatnonzero(images.labels == label)) for label in range(2)])
    by_class = np.argsort(images.labels, kind="stable")
    mixed = np.empty(320, np.int64)
    mixed[by_class] = shuffled
    assert find_name_groups(images, np.arange(320), features[mixed], names) is None


def test_what_groups_flatter_equals_a_vote_counted_image_by_image():
    features, images, _ = make_series(30, 4, 3, spread=1.0)
    groups = np.repeat(np.arange(30), 4)
    found = measure_flattery(features, images.labels, groups)
    right = np.zeros((2, 120))
    for row in range(120):
        for way in range(2):
            others = [other for other in range(120) if other != row and not (way and groups[other] == groups[row])]
            nearest = sorted(others, key=lambda other: -float(features[row] @ features[other]))[:5]
            votes = np.zeros(3)
            for other in nearest:
                votes[images.labels[other]] += features[row] @ features[other]
            right[way, row] = votes.argmax() == images.labels[row]
    assert (found.mixed, found.apart) == pytest.approx(tuple(right.mean(axis=1)))
    assert found.interval[0] < found.mixed - found.apart < found.interval[1]


def find_foreign(features, images, related=None):
    names = [f"{row}.png" for row in range(len(features))]
    known = np.arange(len(features)) if related is None else related
    return list(find_foreign_images(images, np.arange(len(features)), normalize(features), known, names))


def test_a_class_whose_test_images_are_of_another_kind_is_named_with_its_images():
    images, draws = make_images(600, 2, 1, classes=1), np.random.default_rng(0)
    features = draws.normal(size=(600, 24))
    assert find_foreign(features, images) == []
    foreign = images.splits["test"]
    features[foreign] = 2 * draws.normal(size=(len(foreign), 24)) + 8 * np.eye(24)[:3].sum(axis=0)
    [finding] = find_foreign(features, images)
    assert (finding.code, finding.numbers["split"]) == ("foreign_images", "test")
    [named] = finding.numbers["classes"]
    assert named["class"] == "class 0"
    assert named["unlike"] >= 0.3 * len(foreign)  # a hundredth would be by chance
    assert {example.index for example in finding.examples} <= set(foreign.tolist())


def test_an_image_unlike_all_others_by_features_is_listed_if_all_images_have_features():
    images = make_images(90)
    features = 1 + DRAWS.normal(0, 0.1, (90, 16)).astype(np.float32)
    features[30] *= -1
    normalized = normalize(features)
    names = [f"{draw:x}.png" for draw in DRAWS.integers(2**40, 2**44, 90)]

    def find(rows: NDArray[np.int64]) -> list[dict]:
        similarity = find_neighbors(normalized[rows]).similarity
        found = run._list_findings(images, rows, normalized[rows], np.arange(90), similarity, names)
        return [finding.numbers for finding in found if finding.code == "odd_images"]

    assert [numbers["unlike"] for numbers in find(np.arange(90))] == [1]
    assert find(np.arange(80)) == []


def test_groups_that_are_whole_in_one_split_do_not_make_a_class_foreign():
    """A few pictures of which each split has many windows differ between splits without being of another kind."""
    group = np.repeat(np.arange(24), 20)
    images = make_images(480, 2, 1, classes=1)
    splits = {"train": np.arange(320), "validation": np.arange(0), "test": np.arange(320, 480)}
    images = ImageSet(images.images, images.labels, splits, images.classes, images.value_range)
    features = 3 * DRAWS.normal(size=(24, 16))[group] + DRAWS.normal(size=(480, 16))
    assert find_foreign(features, images) == []
    assert find_foreign(features, images, related=group) == []


def test_the_map_has_a_place_for_each_image_and_similar_images_are_near(network, tmp_path):
    images = make_images(120, classes=2)
    dark = images.labels == 1
    pixels = np.where(dark[:, None, None, None], images.images // 8, images.images)
    images = ImageSet(pixels, images.labels, images.splits, images.classes, images.value_range)
    picture = load_picture(look(assign(images, network, tmp_path)).features)
    places = picture.places.astype(np.float64)
    assert places.shape == (120, 2)
    assert places.min() == 0
    assert places.max() == 1
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(axis=1)
    assert (dark[picture.ids[nearest]] == dark[picture.ids]).mean() > 0.9
    assert (dark[picture.neighbors[:, 0]] == dark[picture.ids]).mean() > 0.9


def make_photographs(count: int, side: int = 48) -> NDArray[np.uint8]:
    """Return (count, side, side, 3) of soft shapes in colors."""
    noise = DRAWS.normal(size=(count, side * 2, side * 2, 3))
    soft = gaussian_filter(noise, (0, side / 12, side / 12, 0))[:, side // 2 :, side // 2 :][:, :side, :side]
    soft = soft - 0.5 * soft.mean(axis=3, keepdims=True)
    low, high = (np.quantile(soft, share, axis=(1, 2, 3), keepdims=True) for share in (0.01, 0.99))
    return np.clip(255 * (soft - low) / (high - low), 0, 255).astype(np.uint8)


def encode(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def crop(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    cut = Image.fromarray(image[5 : 5 + side, 3 : 3 + side])
    return np.asarray(cut.resize(image.shape[:2], Image.Resampling.BICUBIC))


CHANGES = {
    "turned": lambda image: np.rot90(image, 3),
    "mirrored": lambda image: encode(np.ascontiguousarray(image[:, ::-1]), 60),
    "cropped": lambda image: crop(image, 30),
    "recolored": lambda image: image[..., [2, 0, 1]],
    "encoded again": lambda image: encode(image, 20),
}


def test_copies_across_splits_are_found_by_features_and_proven_by_pixels():
    training = make_photographs(60)
    copies = [change(training[number]) for number, change in enumerate(CHANGES.values())]
    # Another photograph of one object: the same light, with other details.
    alike = (0.75 * training[10:20] + 0.25 * make_photographs(10)).astype(np.uint8)
    turned_of_another_class, known = np.rot90(training[20])[None], np.rot90(training[22])[None]
    pixels = np.concatenate([training, copies, alike, turned_of_another_class, known])
    count = len(pixels)
    sources = np.array([*range(60), *range(5), *range(10, 20), 20, 22])
    labels = (sources % 2).astype(np.int32)
    labels[-2] = 1
    rows = np.arange(count)
    images = ImageSet(
        pixels, labels, {"train": rows[:60], "validation": rows[:0], "test": rows[60:]}, ("a", "b"), (0, 255)
    )
    features = normalize(DRAWS.normal(size=(60, 16))[sources] + 0.1 * DRAWS.normal(size=(count, 16)))
    copy_of = rows.copy()
    copy_of[-1] = 22
    found = find_copies(images, rows, features, copy_of)
    order = np.argsort(found.pairs[:, 1])
    assert found.pairs[order].tolist() == [[60 + number, number] for number in range(5)]
    assert [HOWS[number] for number in found.how[order]] == list(CHANGES)
    finding = describe_copies(images, found, [f"{row}.png" for row in rows])
    assert finding.numbers["test_in_train"] == {
        "images": 5,
        "exact": 0,
        "near": 5,
        "how": dict.fromkeys(CHANGES, 1),
        "by_features": 5,
        "share": round(5 / 17, 6),
    }
    assert [(first.member, second.member) for first, second in finding.pairs] == [
        (f"{number}.png", f"{60 + number}.png") for number in range(5)
    ]
    assert "They were found by features" in finding.explanation
