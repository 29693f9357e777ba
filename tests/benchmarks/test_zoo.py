"""The zoo: each planted fault does what it says and records it, and the sealed half is drawn at random."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.zoo import draw, manifest
from benchmarks.zoo.alterations import recut
from benchmarks.zoo.cuts import Change, Cut, NotApplicable, cut_of
from benchmarks.zoo.data import find_fullest
from benchmarks.zoo.draw import Sealed, drawn_sets, open_set, sealed_sets
from benchmarks.zoo.faults import FAULTS, PAIRS, QUARTER, label_order, plant
from benchmarks.zoo.likeness import has_continuous_tones, is_in_color, measure_criterion, meets_criterion
from benchmarks.zoo.manifest import read_manifest
from benchmarks.zoo.packages import PINNED, NotFetched, Package, files_of, package
from benchmarks.zoo.registry import ZOO
from benchmarks.zoo.sets import Built, collect, join_copies, thin
from benchmarks.zoo.windows import cut_window, find_families, make_thumbnail

CLASSES = 4


@pytest.fixture(scope="module")
def cut() -> Cut:
    """480 random color pictures in 48 groups; each class has its own mean."""
    rng = np.random.default_rng(5)
    labels = np.tile(np.arange(CLASSES, dtype=np.int32), 120)
    means = np.array([60, 80, 160, 180])[labels][:, None, None, None]
    images = (means + rng.integers(-50, 51, (480, 12, 12, 3))).astype(np.uint8)
    groups = np.repeat(np.arange(48, dtype=np.int32), 10)
    return cut_of(Built(images, labels, tuple("abcd"), groups, 0), (4, 2, 2, 0))


def find_levels(name: str, cut: Cut) -> list[int]:
    """Return the levels that can be planted in 480 images."""
    possible = []
    for level in range(3):
        try:
            plant(cut, [(name, level)], 1)
        except NotApplicable:
            continue
        possible.append(level)
    return possible


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_only_what_it_records(name: str, cut: Cut) -> None:
    possible = find_levels(name, cut)
    assert 2 in possible
    for level in possible:
        planted = plant(cut, [(name, level)], 1)
        images = {row for change in planted.changes if change.field in ("images", "both") for row in change.rows}
        assert set(np.flatnonzero((planted.data.images != cut.images).any(axis=(1, 2, 3)))) == images
        labels = {row for change in planted.changes if change.field == "labels" for row in change.rows}
        replaced = {row for change in planted.changes if change.field == "both" for row in change.rows}
        differ = set(np.flatnonzero(planted.data.labels != cut.labels))
        assert labels <= differ <= labels | replaced
        for change in planted.changes:
            check_place(change, cut, planted.data)
        assert np.array_equal(planted.without(name).data.images, cut.images)
        assert np.array_equal(planted.without(name).data.labels, cut.labels)
        assert all(np.array_equal(rows, cut.splits[where]) for where, rows in planted.without(name).data.splits.items())


def check_place(change: Change, cut: Cut, data: Cut) -> None:
    """Check that a change is within its split and has the share of its rows."""
    assert len(change.rows)
    assert change.fault in FAULTS
    assert change.strength in FAULTS[change.fault].strengths
    if change.field != "splits":
        assert set(change.rows) <= set(cut.splits[change.split])
        assert change.share == len(change.rows) / len(cut.splits[change.split])
        assert all(np.array_equal(rows, cut.splits[where]) for where, rows in data.splits.items())
    elif change.fault == "other_source":
        assert set(change.rows) == set(data.splits["test"]) - set(cut.splits["test"])
    else:
        assert set(cut.splits[change.split]) - set(data.splits[change.split]) == set(change.rows)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_depends_on_nothing_but_its_seed(name: str, cut: Cut) -> None:
    level = find_levels(name, cut)[0]
    first, again, other = (plant(cut, [(name, level)], seed) for seed in (3, 3, 4))
    assert fingerprint(first.data) == fingerprint(again.data)
    whole_split = name.startswith(("rescaled", "brighter", "blurred"))
    assert whole_split or fingerprint(first.data) != fingerprint(other.data)


def fingerprint(cut: Cut) -> bytes:
    return b"".join([cut.images.tobytes(), cut.labels.tobytes(), *(rows.tobytes() for rows in cut.splits.values())])


def test_a_stronger_fault_changes_more(cut: Cut) -> None:
    for name in ("exact_train_test", "wrong_random_everywhere", "rotated_test", "inverted_test", "few_training"):
        shares = [plant(cut, [(name, level)], 1).changes[0].share for level in range(3)]
        assert shares == sorted(set(shares)), name


def test_exact_copies_equal_their_sources_and_have_their_labels(cut: Cut) -> None:
    planted = plant(cut, [("exact_train_test", 2)], 1)
    (change,) = planted.changes
    assert set(change.sources) <= set(cut.splits["train"])
    assert len(set(change.sources)) == len(change.rows) == round(0.5 * len(cut.splits["test"]))
    assert np.array_equal(planted.data.images[change.rows], cut.images[change.sources])
    assert np.array_equal(planted.data.labels[change.rows], cut.labels[change.sources])


@pytest.mark.parametrize("kind", ["recompressed", "scaled", "cropped", "recut"])
def test_inexact_copies_resemble_their_sources_most(kind: str, cut: Cut) -> None:
    smooth = np.kron(np.random.default_rng(2).integers(0, 256, (480, 3, 3, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    (change,) = plant(replace(cut, images=smooth), [(f"{kind}_train_test", 2)], 1).changes
    data = plant(replace(cut, images=smooth), [(f"{kind}_train_test", 2)], 1).data
    distances = [np.abs(data.images[row].astype(int) - smooth.astype(int)).mean(axis=(1, 2, 3)) for row in change.rows]
    assert [int(distance.argmin()) for distance in distances] == list(change.sources)


def test_copies_cut_again_show_another_part_of_their_source() -> None:
    """Each lies in the image as a window of 80 to 90% of a side, and another image is cut elsewhere."""
    rows, columns = np.mgrid[:100, :100]
    places = set()
    for channel in range(6):
        image = np.stack([rows, columns, np.full_like(rows, channel)], axis=-1).astype(np.uint8)
        cut_again = recut(image).astype(int)
        (top, left), (bottom, right) = cut_again[0, 0, :2], cut_again[-1, -1, :2]
        assert 77 <= bottom - top <= 91
        assert 77 <= right - left <= 91
        places.add((int(top), int(left)))
    assert len(places) > 3


def test_labels_wrong_in_training_and_validation_leave_test_as_it_is(cut: Cut) -> None:
    planted = plant(cut, [("wrong_random_training_validation", QUARTER)], 1)
    wrong = planted.data.labels != cut.labels
    shares = {split: wrong[rows].mean() for split, rows in cut.splits.items() if len(rows)}
    assert shares == {"train": 0.25, "validation": 0.25, "test": 0}


def test_conflicting_copies_have_other_labels(cut: Cut) -> None:
    for source in ("train_train", "train_test"):
        planted = plant(cut, [(f"conflicting_exact_{source}", 1)], 1)
        (change,) = planted.changes
        assert not set(change.sources) & set(change.rows)
        assert (planted.data.labels[change.rows] != cut.labels[change.sources]).all()
        assert np.array_equal(planted.data.images[change.rows], cut.images[change.sources])


def test_confusable_labels_come_from_the_most_similar_class(cut: Cut) -> None:
    planted = plant(cut, [("wrong_confusable_training", 2)], 1)
    rows = planted.changes[0].rows
    assert np.array_equal(planted.data.labels[rows], np.array([1, 0, 3, 2])[cut.labels[rows]])


def test_label_orders_match_their_names() -> None:
    assert label_order("rotated", 3).tolist() == [1, 2, 0]
    assert label_order("reversed", 3).tolist() == [2, 1, 0]
    assert label_order("alphabetical", 5).tolist() == [4, 1, 3, 2, 0]  # four, one, three, two, zero
    assert label_order("alphabetical", 12).tolist() == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]


def test_pixels_are_changed_as_their_fault_says(cut: Cut) -> None:
    test = cut.splits["test"]
    before = cut.images[test].astype(float)
    assert np.array_equal(plant(cut, [("inverted_test", 2)], 1).data.images[test], 255 - before)
    assert np.array_equal(plant(cut, [("other_channels_test", 2)], 1).data.images[test], before[..., [2, 1, 0]])
    assert np.array_equal(plant(cut, [("rescaled_test", 2)], 1).data.images[test], np.rint(before / 255))
    assert np.array_equal(plant(cut, [("brighter_test", 0)], 1).data.images[test], np.minimum(before + 30, 255))
    blurred = plant(cut, [("blurred_test", 2)], 1).data.images[test]
    assert blurred.std(axis=(1, 2)).mean() < 0.6 * before.std(axis=(1, 2)).mean()


def test_rare_classes_keep_one_image_in_ten(cut: Cut) -> None:
    planted = plant(cut, [("rare_classes", 0)], 1)
    before, after = (np.bincount(data.labels[data.splits["train"]], minlength=CLASSES) for data in (cut, planted.data))
    rare = np.flatnonzero(before != after)
    assert len(rare) == 1
    assert after[rare[0]] == round(before[rare[0]] / 10)


def test_another_source_moves_whole_groups(cut: Cut) -> None:
    odd = cut.images.copy()
    train_groups = np.unique(cut.groups[cut.splits["train"]])[:3]
    odd[np.isin(cut.groups, train_groups), :6] //= 3  # three groups with a dark upper half
    data = plant(replace(cut, images=odd), [("other_source", 0)], 1).data
    assert set(train_groups) <= set(cut.groups[data.splits["test"]])
    assert not set(cut.groups[data.splits["test"]]) & set(cut.groups[data.splits["train"]])


def test_gray_sets_have_no_channels_to_swap(cut: Cut) -> None:
    with pytest.raises(NotApplicable):
        plant(replace(cut, images=cut.images[..., :1]), [("other_channels_test", 2)], 1)


def test_a_pair_of_faults_consists_of_both_and_each_can_be_removed(cut: Cut) -> None:
    assert len(PAIRS) == len(set(PAIRS))
    for first, second in PAIRS:
        levels_ = [(first, 1), (second, 0)]
        planted = plant(cut, levels_, 1)
        assert {change.fault for change in planted.changes} == {first, second}
        alone = plant(cut, levels_[1:], 1)
        assert fingerprint(planted.without(first).data) == fingerprint(alone.data)
        assert fingerprint(plant(cut, levels_[::-1], 1).data) == fingerprint(planted.data)


def test_splits_share_no_group_and_lose_no_image(cut: Cut) -> None:
    rows = np.concatenate(list(cut.splits.values()))
    assert sorted(rows) == list(range(480))
    groups = [set(cut.groups[rows]) for rows in cut.splits.values()]
    assert sum(map(len, groups)) == 48


def test_a_cut_with_all_classes_in_each_split_is_preferred(cut: Cut) -> None:
    test = cut.splits["test"]
    lacking, emptier = (
        replace(cut, splits={**cut.splits, "test": test[cut.labels[test] < most], "referee": test[:0]})
        for most in (3, 2)
    )
    assert find_fullest([emptier, lacking, cut, emptier]) is cut
    assert find_fullest([emptier, lacking, emptier]) is lacking


def test_equal_images_are_kept_once_or_dropped_if_their_labels_differ() -> None:
    a, b, c = (np.full((2, 2, 1), level, np.uint8) for level in (1, 2, 3))
    built = collect([(a, "x", "1"), (b, "x", "1"), (a, "x", "2"), (b, "y", "2"), (c, "y", "2")])
    assert built.images[:, 0, 0, 0].tolist() == [1, 3]
    assert built.labels.tolist() == [0, 1]
    assert built.dropped == 3


def test_groups_that_share_a_near_copy_are_merged(cut: Cut) -> None:
    images = cut.images.copy()
    images[17] = np.clip(images[473].astype(int) + 3, 0, 255)  # images of the second and the last group
    joined = join_copies(Built(images, cut.labels, tuple("abcd"), cut.groups, 0))
    assert joined.groups[17] == joined.groups[473]
    assert len(np.unique(joined.groups)) == 47
    assert np.array_equal(join_copies(replace(joined, images=cut.images, groups=cut.groups)).groups, cut.groups)


def test_thinned_classes_shrink_by_the_ratio() -> None:
    image = np.zeros((1, 1, 1), np.uint8)
    samples = [(image, name, str(number)) for name in "abc" for number in range(200)]
    counts = sorted(
        sum(sample[1] == name for sample in thin(samples, 100, np.random.default_rng(0), 25)) for name in "abc"
    )
    assert counts == [4, 20, 100]


def test_half_of_the_first_sets_were_sealed_at_random() -> None:
    entries, drawn = read_manifest(), drawn_sets()
    assert drawn == draw.draw(entries)
    candidates = [name for name, entry in entries.items() if not entry["tuned_on"] and entry["lot"] == 1]
    assert len(drawn) == len(candidates) // 2
    # Both halves have sets of each kind.
    for half in (set(drawn), set(candidates) - set(drawn)):
        assert {entries[name]["channels"] for name in half} == {1, 3}
        assert {entries[name]["guess"] for name in half} == {"easy", "medium", "hard"}
        assert (
            min(entries[name]["images"] for name in half)
            < 1_500
            < 10_000
            < max(entries[name]["images"] for name in half)
        )


def test_a_sealed_set_cannot_be_opened_until_it_is_unsealed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HELDOUT_ZOO", str(tmp_path))
    for name in sealed_sets():
        with pytest.raises(Sealed):
            open_set(name)
    for name, unseal in ((sealed_sets()[0], True), (drawn_sets()[0], False)):
        with pytest.raises(manifest.NotBuilt):  # the set is looked for
            open_set(name, unseal=unseal)


def test_a_built_set_that_differs_from_the_manifest_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path, cut: Cut
) -> None:
    monkeypatch.setenv("HELDOUT_ZOO", str(tmp_path))
    (tmp_path / "built").mkdir()
    arrays = {"images": cut.images, "labels": cut.labels, "groups": cut.groups, "classes": np.array(list("abcd"))}
    np.savez(tmp_path / "built" / "made_up.npz", dropped=0, **arrays)
    built = Built(cut.images, cut.labels, tuple("abcd"), cut.groups, 0)
    assert np.array_equal(manifest.load_built("made_up", built.digest()).images, cut.images)
    np.savez(tmp_path / "built" / "made_up.npz", dropped=0, **(arrays | {"images": 255 - cut.images}))
    with pytest.raises(manifest.NotBuilt):
        manifest.load_built("made_up", built.digest())
    with pytest.raises(NotFetched):
        files_of(Package("pip", "nothing", "1"), "*")


def test_the_manifest_agrees_with_the_registry() -> None:
    entries = read_manifest()
    assert list(entries) == sorted(ZOO)
    assert sum(not entry["tuned_on"] for entry in entries.values()) >= 24
    for name, entry in entries.items():
        registered = ZOO[name]
        assert list(entry["packages"]) == [str(package) for package in sorted(registered.packages)]
        assert all(entry["packages"].values())
        assert (entry["guess"], entry["channels"], entry["tuned_on"], entry["about"]) == (
            registered.guess, registered.channels, registered.tuned_on, registered.about,
        )  # fmt: skip
        assert len(entry["sha256"]) == len(entry["splits_sha256"]) == 64
        assert sum(entry["splits"].values()) == entry["images"]
        assert 100 <= entry["images"] <= 60_000
        assert 8 <= entry["size"] <= 128
        assert 2 <= entry["classes"] <= 60
        assert entry["splits"]["referee"] == 0 or entry["splits"]["referee"] >= 2_000


def test_each_pinned_package_is_used_by_a_set() -> None:
    pinned = {package(*line.split()[:2]) for line in PINNED.read_text("utf-8").splitlines()}
    assert pinned == {package for registered in ZOO.values() for package in registered.packages}


def draw_photograph_like(side: int = 48) -> np.ndarray:
    """Smooth waves of three colors with a little grain."""
    rng = np.random.default_rng(3)
    down, across = np.mgrid[:side, :side] / side
    waves = [120 + 90 * np.sin(2 * np.pi * (a * down + b * across + c)) for a, b, c in rng.random((3, 3))]
    return np.clip(np.stack(waves, axis=-1) + rng.normal(0, 2, (side, side, 3)), 0, 255).astype(np.uint8)


def test_only_images_with_many_tones_are_like_photographs() -> None:
    photograph = draw_photograph_like()
    on_white = photograph.copy()
    on_white[:, :30] = 255
    assert has_continuous_tones(photograph)
    assert has_continuous_tones(on_white)
    flat, framed = np.full_like(photograph, 255), np.full_like(photograph, 255)
    flat[10:30, 10:30], flat[20:40, 20:40] = (200, 30, 30), (30, 30, 200)
    framed[:8, :8] = photograph[:8, :8]
    doubled = np.kron(photograph[:24, :24], np.ones((2, 2, 1), np.uint8))  # half of the neighbours are equal
    for drawn in (flat, framed, doubled, photograph // 64 * 64):
        assert not has_continuous_tones(drawn)
    assert not is_in_color(np.repeat(photograph[..., :1], 3, axis=-1))


def test_a_set_is_like_photographs_if_most_of_its_images_are() -> None:
    images = np.stack([draw_photograph_like()] * 10)
    pale = images.mean(axis=-1, keepdims=True) + np.random.default_rng(1).integers(0, 8, images.shape)
    images[:2], images[2:5] = 255, pale[2:5].clip(0, 255)
    assert measure_criterion(images) == (0.5, 0.8)
    assert meets_criterion(48, 0.5, 0.8)
    assert not any(meets_criterion(*other) for other in ((47, 0.5, 0.8), (48, 0.49, 0.8), (48, 0.5, 0.79)))


def test_the_sets_of_the_sixth_lot_are_like_photographs_and_of_new_packages() -> None:
    entries = read_manifest()
    earlier = {package for entry in entries.values() if entry["lot"] < 6 for package in entry["packages"]}
    lot = [entry for entry in entries.values() if entry["lot"] == 6]
    assert len(lot) >= 12
    for entry in lot:
        assert meets_criterion(entry["size"], entry["in_color"], entry["continuous"])
        assert not {name.split("=")[0] for name in entry["packages"]} & {name.split("=")[0] for name in earlier}


def test_versions_of_a_photograph_are_one_family() -> None:
    """Recolored, smaller and slightly darker ones; a mirrored one is another picture."""
    first, other = (
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)).resize((96, 96))
        for seed in (1, 2)
    )
    recolored = Image.merge("RGB", first.split()[::-1])
    pictures = [first, recolored, first.resize((60, 60)), first.point(lambda level: 0.7 * level), other]
    small = [make_thumbnail(picture) for picture in pictures]
    families = find_families([str(number) for number in range(5)], small)
    assert len(set(families[:4])) == 1
    assert families[4] != families[0]
    assert len(set(find_families(["a", "b", "c", "d", "a"], small))) == 1


def test_a_window_is_never_larger_than_in_its_picture() -> None:
    """A picture of the window's size is returned as it is."""
    picture = draw_photograph_like()
    window = cut_window(Image.fromarray(picture), (0.1, 0.5), np.random.default_rng(1))
    assert np.array_equal(window, picture)
