"""Missing splits are cut by the documented rule, and groups stay together."""

import signal

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from analysis.arrays.dataset import SPLITS, load
from heldout.spec.dataset import DatasetSpec, SplitSpec
from models.bundled import cut_off_validation
from tests.worker.ingest.uploads import arrays_of, encoded, noise, npz, rejection_of, taken, zipped
from worker.ingest.rejection import Rejection
from worker.ingest.splits import NO_SPLIT, find_groups, make_splits

NONE, TRAIN, VALIDATION, TEST = NO_SPLIT, 0, 1, 2

labels_of_images = st.lists(st.integers(0, 4), min_size=30, max_size=300).map(lambda found: np.array(found, np.int32))


def assign_splits(*counts: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.full(count, split) for split, count in counts]).astype(np.int8)


def test_validation_is_cut_as_for_bundled_datasets(mnist5k):
    train = np.sort(np.concatenate([mnist5k.splits["train"], mnist5k.splits["validation"]]))
    test = mnist5k.splits["test"]
    expected = cut_off_validation(mnist5k.images, mnist5k.labels, train, test, mnist5k.classes)
    codes = np.zeros(5000, np.int8)
    codes[test] = TEST
    found = make_splits(mnist5k.labels, codes, SplitSpec())
    for split in SPLITS:
        np.testing.assert_array_equal(found.indices[split], expected.splits[split])


@given(labels_of_images)
def test_every_image_is_in_one_split_and_classes_keep_their_shares(labels):
    found = make_splits(labels, assign_splits((NONE, len(labels))), SplitSpec())
    together = np.sort(np.concatenate([found.indices[split] for split in SPLITS]))
    np.testing.assert_array_equal(together, np.arange(len(labels)))
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        test = max(1, count // 5)
        validation = max(1, (count - test) // 10) if count > test else 0
        held = {split: int((labels[found.indices[split]] == label).sum()) for split in SPLITS}
        assert held == {"train": count - test - validation, "validation": validation, "test": test}
    for split in SPLITS:
        assert np.all(np.diff(found.indices[split]) > 0)


@given(labels_of_images)
def test_an_existing_split_is_not_changed_when_others_are_cut(labels):
    codes = assign_splits((TRAIN, len(labels) - 10), (TEST, 10))
    found = make_splits(labels, codes, SplitSpec())
    np.testing.assert_array_equal(found.indices["test"], np.arange(len(labels) - 10, len(labels)))
    assert found.origin["train"] == found.origin["test"] == "upload"
    assert "0.1" in found.origin["validation"]


def test_splits_can_be_merged_and_cut_again():
    labels = np.arange(100, dtype=np.int32) % 2
    codes = assign_splits((TRAIN, 60), (VALIDATION, 20), (TEST, 20))
    kept = make_splits(labels, codes, SplitSpec())
    merged = make_splits(labels, codes, SplitSpec(existing="merge"))
    assert [len(kept.indices[split]) for split in SPLITS] == [60, 20, 20]
    assert [len(merged.indices[split]) for split in SPLITS] == [72, 8, 20]
    fresh = make_splits(labels, assign_splits((NONE, 100)), SplitSpec())
    np.testing.assert_array_equal(merged.indices["test"], fresh.indices["test"])


def test_shares_and_seed_come_from_the_spec():
    labels = np.zeros(200, np.int32)
    first = make_splits(labels, assign_splits((NONE, 200)), SplitSpec(test=0.5, validation=0.25))
    other = make_splits(labels, assign_splits((NONE, 200)), SplitSpec(test=0.5, validation=0.25, seed=1))
    assert [len(first.indices[split]) for split in SPLITS] == [75, 25, 100]
    assert not np.array_equal(first.indices["test"], other.indices["test"])


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3, 0.07])
def test_shares_are_computed_without_rounding_errors(share):
    for count in range(1, 300):
        labels = np.zeros(count + 5, np.int32)
        found = make_splits(labels, assign_splits((TRAIN, count + 3), (TEST, 2)), SplitSpec(validation=share))
        assert len(found.indices["validation"]) == max(1, (count + 3) * round(share * 100) // 100)


# --- groups --------------------------------------------------------------------------------------


@given(labels_of_images, st.integers(2, 40), st.integers(0, 3))
@settings(max_examples=60)
def test_a_group_stays_in_one_split(labels, groups, seed):
    numbers = np.random.default_rng(seed).integers(0, groups, len(labels))
    try:
        found = make_splits(labels, assign_splits((NONE, len(labels))), SplitSpec(seed=seed), numbers)
    except Rejection as rejection:
        # Two groups cannot fill three splits.
        event(rejection.code)
        return
    held = {split: set(numbers[found.indices[split]]) for split in SPLITS}
    assert not held["train"] & held["test"]
    assert not held["train"] & held["validation"]
    assert not held["validation"] & held["test"]


@given(labels_of_images)
def test_groups_of_single_images_are_cut_like_images(labels):
    labels = labels[np.isin(labels, np.flatnonzero(np.bincount(labels) > 3))]
    if not len(labels):
        return
    alone = make_splits(labels, assign_splits((NONE, len(labels))), SplitSpec())
    grouped = make_splits(labels, assign_splits((NONE, len(labels))), SplitSpec(), np.arange(len(labels)))
    for split in SPLITS:
        np.testing.assert_array_equal(alone.indices[split], grouped.indices[split])


def test_splits_of_groups_have_nearly_the_requested_shares():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), generator.integers(1, 12, 200))
    labels = (groups % 4).astype(np.int32)
    found = make_splits(labels, assign_splits((NONE, len(labels))), SplitSpec(), groups)
    for label in range(4):
        share = (labels[found.indices["test"]] == label).sum() / (labels == label).sum()
        assert share == pytest.approx(0.2, abs=0.03)


def make_burst(patients: int = 12, each: int = 5) -> dict[str, bytes]:
    """Make several nearly equal pictures of each patient."""
    files = {}
    for patient in range(patients):
        scan = noise((12, 10), patient) // 2
        for number in range(each):
            name = f"{'ill' if patient % 2 else 'well'}/p{patient:02d}_{number}.png"
            files[name] = encoded(scan + number)
    return files


def make_patients(patients: int = 12, each: int = 5) -> dict[str, bytes]:
    """Make several different pictures of each patient."""
    return {
        f"{'ill' if patient % 2 else 'well'}/p{patient:02d}_{number}.png": encoded(
            noise((12, 10), 100 * patient + number)
        )
        for patient in range(patients)
        for number in range(each)
    }


def group_patients(target) -> dict[str, set[str]]:
    names = (target / "members.txt").read_text().splitlines()
    return {split: {names[row].split("/")[-1][:3] for row in rows} for split, rows in load(target).splits.items()}


def are_disjoint(parts: dict[str, set[str]]) -> bool:
    return sum(map(len, parts.values())) == len(set().union(*parts.values()))


def test_a_group_rule_keeps_pictures_of_the_same_patient_together(tmp_path):
    path = zipped(tmp_path / "a.zip", make_patients())
    _, scattered = taken(path)
    report, together = taken(path.rename(tmp_path / "b.zip"), DatasetSpec(name="scans", group_by=r"/(p\d+)_"))
    assert not are_disjoint(group_patients(scattered))
    assert are_disjoint(group_patients(together))
    assert report.source["groups"] == 12


# --- copies --------------------------------------------------------------------------------------


def get_codes(report) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("test", [False, True], ids=["all in one", "with a test split"])
def test_new_splits_keep_copies_together_and_have_no_leakage(tmp_path, test):
    files = make_burst(20)
    if test:
        files = {f"train/{name}": data for name, data in files.items()}
        files |= {f"test/{name}": encoded(noise((12, 10), 10_000 + n)) for n, name in enumerate(make_patients(20, 2))}
    report, target = taken(zipped(tmp_path / "a.zip", files))
    names = (target / "members.txt").read_text().splitlines()
    for name in {name.rpartition("_")[0] for name in make_burst(20)}:
        holding = [
            split
            for split, rows in load(target).splits.items()
            if split != "test" or not test
            if any(name in names[row] for row in rows)
        ]
        assert len(holding) == 1
    assert "leakage" not in get_codes(report)
    assert "copies" in report.source["splits"]["validation"]
    assert {split: counts["count"] for split, counts in report.splits.items()} == (
        {"train": 90, "validation": 10, "test": 40} if test else {"train": 70, "validation": 10, "test": 20}
    )


def test_copies_across_the_splits_of_the_upload_are_reported_unless_they_are_merged(tmp_path):
    files = {f"{'test' if name[-5] == '4' else 'train'}/{name}": data for name, data in make_burst(20).items()}
    path = zipped(tmp_path / "a.zip", files)
    kept, _ = taken(path)
    merged, target = taken(path.rename(tmp_path / "b.zip"), DatasetSpec(name="a", splits=SplitSpec(existing="merge")))
    assert "leakage" in get_codes(kept)
    assert "leakage" not in get_codes(merged)
    assert are_disjoint(group_patients(target))


def test_copies_and_groups_are_combined_into_units(tmp_path):
    """Patients 00 and 02 are the same person, because their first pictures are copies."""
    files = make_patients(20)
    files["well/p02_0.png"] = encoded(np.asarray(noise((12, 10), 0)) // 2)
    files["well/p00_0.png"] = encoded(np.asarray(noise((12, 10), 0)) // 2 + 1)
    for seed in range(3):
        rule = DatasetSpec(name="scans", group_by=r"/(p\d+)_", splits=SplitSpec(seed=seed))
        _, target = taken(zipped(tmp_path / f"{seed}.zip", files), rule)
        parts = group_patients(target)
        assert are_disjoint(parts)
        assert {"p00", "p02"} in [part & {"p00", "p02"} for part in parts.values()]


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_an_upload_without_copies_is_cut_by_images(tmp_path, request, source):
    images = request.getfixturevalue(source)
    arrays = {"x": images.images[:1500], "y": images.labels[:1500]}
    _, target = taken(npz(tmp_path / "a.npz", **arrays))
    expected = make_splits(images.labels[:1500], assign_splits((NONE, 1500)), SplitSpec())
    for split, rows in load(target).splits.items():
        np.testing.assert_array_equal(rows, expected.indices[split])


def test_a_unit_with_most_images_of_a_class_stays_in_train():
    labels = np.arange(200, dtype=np.int32) % 2
    units = np.where((labels == 0) & (np.arange(200) < 160), 0, np.arange(200))
    for seed in range(20):
        found = make_splits(labels, assign_splits((NONE, 200)), SplitSpec(seed=seed), units)
        assert 0 not in units[found.indices["test"]]
        assert all(set(labels[rows]) == {0, 1} for rows in found.indices.values())
        assert [int(labels[found.indices[split]].sum()) for split in ("test", "validation")] == [20, 8]


def test_copies_of_only_two_pictures_are_too_few_images(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", make_burst(2, 20)))
    assert rejection.code == "too_few_images"
    assert "copies" in rejection.detail


# --- groups that are not kept --------------------------------------------------------------------


def test_splits_of_the_upload_that_divide_a_group_are_kept_and_reported(tmp_path):
    files = {f"{'test' if name[-5] == '4' else 'train'}/{name}": data for name, data in make_burst().items()}
    report, _ = taken(zipped(tmp_path / "a.zip", files), DatasetSpec(name="scans", group_by=r"/(p\d+)_"))
    [finding] = [finding for finding in report.findings if finding.code == "group_across_splits"]
    assert finding.severity == "critical"
    assert finding.numbers["crossing"] == 12


def test_a_name_that_the_group_rule_does_not_match_is_refused(tmp_path):
    files = make_burst() | {"ill/other.png": encoded(noise())}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files), DatasetSpec(name="scans", group_by=r"/(p\d+)_"))
    assert (rejection.code, rejection.member) == ("group_unmatched", "ill/other.png")


def test_a_group_rule_that_takes_too_long_is_stopped():
    handler = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(Rejection) as refused:
        find_groups(["a" * 60 + ".png"], r"^((?:a+)+)$", limit_s=0.1)
    assert refused.value.code == "group_too_slow"
    assert not refused.value.is_retryable
    assert signal.getsignal(signal.SIGVTALRM) is handler
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_groups_are_numbered_in_order_of_appearance():
    np.testing.assert_array_equal(find_groups(["b1", "a1", "b2", "c1"], "^(.)"), [0, 1, 0, 2])
    assert find_groups(["b1"], None) is None


def test_splits_are_part_of_the_address(tmp_path):
    path = npz(tmp_path / "a.npz", **arrays_of(60))
    first, _ = taken(path)
    again, _ = taken(npz(tmp_path / "b.npz", **arrays_of(60)))
    other, _ = taken(npz(tmp_path / "c.npz", **arrays_of(60)), DatasetSpec(name="pets", splits=SplitSpec(seed=1)))
    assert first.sha256 == again.sha256 != other.sha256
