"""Findings of an audit about good and faulty datasets; a good dataset has none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.arrays.dataset import SPLITS
from heldout.fixes.changes import LinearChange, VersionChanges
from heldout.fixes.offers import make_offer
from tests.worker.ingest.audit.test_copies import make_dataset, make_splits, scan_dataset
from tests.worker.ingest.uploads import arrays_of, encoded, noise, npz, pictures, taken, zipped
from worker.ingest.audit.counts import compute_statistics, count_findings, find_value_faults
from worker.ingest.audit.samples import find_label_order
from worker.ingest.audit.scan import replace_splits
from worker.ingest.audit.shift import MISTAKES, find_shift
from worker.ingest.images.pixels import change_pixels
from worker.ingest.rejection import IngestLimits


def get_codes(findings) -> set[str]:
    return {finding.code for finding in findings}


def check_counts(tmp_path, train, validation, test):
    """Return the findings about a dataset with this many images of each class in each split."""
    labels = np.concatenate([np.repeat(np.arange(len(split)), split) for split in (train, validation, test)])
    images = np.zeros((len(labels), 8, 8, 1), np.uint8)
    splits = make_splits(sum(train), sum(validation), sum(test))
    return {finding.code: finding for finding in count_findings(make_dataset(tmp_path, images, labels, splits))}


# --- counts --------------------------------------------------------------------------------------


def test_even_classes_and_a_large_test_split_give_no_finding(tmp_path):
    assert check_counts(tmp_path, [300, 300], [50, 50], [100, 100]) == {}


def test_a_class_that_is_missing_in_a_split_is_named(tmp_path):
    found = check_counts(tmp_path, [300, 300, 0], [50, 50, 20], [100, 0, 100])
    assert found["class_missing"].severity == "critical"
    assert found["class_missing"].numbers == {
        "train": {"count": 1, "classes": ["2"]},
        "test": {"count": 1, "classes": ["1"]},
    }
    assert found["class_missing"].explanation.startswith(
        "1 of 3 classes (2) has no training images. 1 of 3 classes (1) has no test images."
    )
    assert check_counts(tmp_path, [300, 300], [50, 0], [100, 100])["class_missing"].severity == "warning"


@pytest.mark.parametrize(
    ("train", "severity"), [([299, 100], None), ([300, 100], "warning"), ([2000, 100], "critical")]
)
def test_imbalance_is_reported_by_its_ratio(tmp_path, train, severity):
    share = [round(120 * count / sum(train)) for count in train]
    found = check_counts(tmp_path, train, share, [2 * count for count in share]).get("class_imbalance")
    assert (found.severity if found else None) == severity
    if found:
        assert found.numbers["ratio"] == train[0] / train[1]
        assert f"'1' has {train[1]:,} training images, but class '0' has {train[0]:,}." in found.explanation
        assert found.numbers["majority_accuracy"] == round(train[0] / sum(train), 6)


def test_different_frequencies_of_classes_in_the_splits_are_reported(tmp_path):
    found = check_counts(tmp_path, [300, 300], [50, 50], [160, 40])
    assert found["class_shift"].numbers["test"]["distance"] == pytest.approx(0.3)
    assert "validation" not in found["class_shift"].numbers
    # A division of ten images into 8 and 2 may be chance.
    assert "class_shift" not in check_counts(tmp_path, [300, 300], [8, 2], [100, 100])


def test_a_small_test_split_is_reported_with_its_interval(tmp_path):
    found = check_counts(tmp_path, [300, 300], [50, 50], [20, 20])["test_too_small"]
    assert found.numbers["count"] == 40
    low, high = found.numbers["interval_at_90_percent"]
    assert low < 0.8 < 0.95 < high
    # The interval that statsmodels gives for 36 of 40: 0.7695 to 0.9604.
    assert found.explanation.startswith(
        "With 40 test images, an accuracy of 90% is only known to ±9.5 points (76.9–96.0%)."
    )


# --- values --------------------------------------------------------------------------------------


def check_values(tmp_path, images, value_range=(0, 255)):
    count = len(images)
    dataset = make_dataset(tmp_path, images, None, make_splits(count - 20, 10, 10), value_range)
    seen = scan_dataset(dataset)
    return {finding.code: finding for finding in find_value_faults(dataset, seen)}, compute_statistics(dataset, seen)


def test_statistics_are_those_of_numpy(tmp_path, mnist5k):
    images = mnist5k.images[::20]
    _, found = check_values(tmp_path, images)
    train = images[:-20].astype(float)
    assert found["train"]["channels"][0]["mean"] == pytest.approx(train.mean(), rel=1e-4)
    assert found["train"]["channels"][0]["std"] == pytest.approx(train.std(), rel=1e-4)
    assert found["train"]["channels"][0]["p99"] == pytest.approx(np.quantile(train, 0.99), abs=1)
    assert (found["test"]["low"], found["test"]["high"]) == (images[-10:].min(), images[-10:].max())


def test_statistics_of_floats_are_close_to_those_of_numpy(tmp_path):
    images = np.random.default_rng(0).normal(0.5, 0.1, (60, 12, 12, 3)).clip(0, 1).astype(np.float32)
    found, numbers = check_values(tmp_path, images, (0.0, 1.0))
    assert numbers["train"]["channels"][2]["mean"] == pytest.approx(images[:-20, ..., 2].mean(), abs=0.005)
    assert numbers["train"]["channels"][2]["std"] == pytest.approx(images[:-20, ..., 2].std(), abs=0.005)
    assert found == {}


def test_histograms_are_updated_when_images_move_between_splits(tmp_path, mnist5k):
    before = make_dataset(tmp_path, mnist5k.images, mnist5k.labels, mnist5k.splits)
    after = replace(before, splits={**before.splits, "train": before.splits["test"], "test": before.splits["train"]})
    moved = replace_splits(scan_dataset(before), after)
    np.testing.assert_array_equal(moved.histograms, scan_dataset(after).histograms)
    assert not np.array_equal(moved.histograms, scan_dataset(before).histograms)


def test_blank_images_of_any_shade_are_found(tmp_path):
    images = noise((60, 12, 12, 1))
    images[3], images[55] = 0, 200
    found, _ = check_values(tmp_path, images)
    assert set(found) == {"blank_images"}
    assert [example.index for example in found["blank_images"].examples] == [3, 55]
    assert found["blank_images"].numbers["test"] == 1
    assert make_offer(found["blank_images"]) == {"exclude": [3, 55]}
    assert found["blank_images"].explanation.startswith("2 of 60 images (3%) have one colour throughout.")


def test_values_that_use_little_of_their_range_are_reported(tmp_path):
    assert set(check_values(tmp_path, noise((60, 12, 12, 1)) // 16)[0]) == {"narrow_range"}
    assert check_values(tmp_path, noise((60, 12, 12, 1)))[0] == {}


def test_three_equal_channels_are_reported_but_not_color_images(tmp_path):
    assert set(check_values(tmp_path, np.repeat(noise((60, 12, 12, 1)), 3, axis=3))[0]) == {"grey_as_rgb"}
    assert check_values(tmp_path, noise((60, 12, 12, 3)))[0] == {}


# --- shift ---------------------------------------------------------------------------------------


def find_shifts(tmp_path, source, change, **options):
    """Return the findings, except infos, about real digits with changed test images."""
    images = source.images.copy()
    rows = source.splits["test"]
    images[rows] = change(images[rows])
    dataset = make_dataset(tmp_path, images, source.labels, source.splits, source.value_range)
    found, _ = find_shift(dataset)
    return [finding for finding in found if finding.severity != "info"]


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_a_random_split_gives_no_finding(tmp_path, request, source):
    """About two in ten thousand random splits of real images would be reported as an info."""
    images = request.getfixturevalue(source)
    labels = np.asarray(images.labels)
    probabilities = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(labels))
        parts = np.split(order, [len(order) * 7 // 10, len(order) * 8 // 10])
        splits = dict(zip(SPLITS, (np.sort(part) for part in parts), strict=True))
        dataset = make_dataset(tmp_path, images.images, labels, splits, images.value_range)
        found, checks = find_shift(dataset)
        assert found == []
        assert find_label_order(dataset) == []
        probabilities += [checks["shift_test"]["p_value"], checks["shift_validation"]["p_value"]]
    # The probabilities are spread evenly.
    assert 0.25 < np.mean(probabilities) < 0.75


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_bundled_splits_give_no_finding_above_info(tmp_path, request, source):
    assert find_shifts(tmp_path, request.getfixturevalue(source), lambda images: images) == []


def test_different_class_frequencies_are_not_a_shift_of_the_images(tmp_path, mnist5k):
    """Classes have equal weights, so more sevens in the test split do not matter."""
    rows = mnist5k.splits["test"]
    keep = np.concatenate([rows[mnist5k.labels[rows] == 7], rows[mnist5k.labels[rows] != 7][::6]])
    splits = {**mnist5k.splits, "test": np.sort(keep)}
    dataset = make_dataset(tmp_path, mnist5k.images, mnist5k.labels, splits)
    assert all(finding.severity == "info" for finding in find_shift(dataset)[0])
    assert "class_shift" in get_codes(count_findings(dataset))


SLIPS = {
    "inverted": (lambda images: 255 - images, "inverted_values", "light and dark are swapped"),
    "1 instead of 255": (lambda images: images // 255, "scale_mismatch", "255 times smaller than in training"),
    "transposed": (lambda images: images.transpose(0, 2, 1, 3), "orientation_mismatch", "rows and columns"),
    "turned": (lambda images: np.rot90(images, 1, (1, 2)), "orientation_mismatch", "to the left"),
    "upside down": (lambda images: images[:, ::-1], "orientation_mismatch", "top and bottom"),
    "darker": (lambda images: (images * 0.8).astype(np.uint8), "split_shift", None),
    "noisy": (
        lambda images: np.clip(images + noise(images.shape) // 12.0, 0, 255).astype(np.uint8),
        "split_shift",
        None,
    ),
}


@pytest.mark.parametrize("mistake", SLIPS)
def test_a_mistake_in_one_split_is_identified(tmp_path, mnist5k, mistake):
    change, code, says = SLIPS[mistake]
    [finding] = find_shifts(tmp_path, mnist5k, change)
    assert finding.code == code
    assert finding.numbers["p_value"] <= 0.001
    assert {example.split for example in finding.examples} == {"test"}
    if says is None:
        assert "slip" not in finding.numbers
    else:
        assert finding.severity == "critical"
        assert says in finding.explanation
    offered = make_offer(finding)
    if code in ("scale_mismatch", "split_shift"):
        assert offered is None  # scaling down integers loses information
    else:
        images = mnist5k.images[mnist5k.splits["test"]]
        undo = VersionChanges.model_validate(offered).pixel_values.group_by_split()["test"]
        assert np.array_equal(change_pixels(change(images), undo, mnist5k.value_range), images)


def test_a_mistake_in_both_held_out_splits_is_reported_once_and_fixed_in_both(tmp_path, mnist5k):
    images = mnist5k.images.copy()
    images[mnist5k.splits["train"]] = 255 - images[mnist5k.splits["train"]]
    found, _ = find_shift(make_dataset(tmp_path, images, mnist5k.labels, mnist5k.splits))
    [finding] = found
    assert make_offer(finding) == {"pixel_values": {"test": "invert", "validation": "invert"}}


@pytest.mark.parametrize(("scale", "low", "high"), [((255.0, 0.0), 0, 255), ((2.0, -1.0), -1, 1), ((0.5, 0.5), -1, 1)])
def test_a_fix_means_the_same_for_the_audit_and_for_stored_pixels(scale, low, high):
    """The audit applies it to images in [0, 1], and a new version to stored pixels."""
    [mistake] = [mistake for mistake in MISTAKES if mistake.change == scale]
    values = np.linspace(low, high, 50).reshape(1, 5, 10, 1).astype(np.float32)
    change = LinearChange.model_validate(mistake.make_cure((low, high)))
    expected = low + (high - low) * mistake.undo((values - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(change_pixels(values, change, (low, high)), expected, atol=1e-6)


def test_a_negligible_shift_is_only_an_info(tmp_path, mnist5k):
    images = mnist5k.images.copy()
    images[mnist5k.splits["test"]] = (images[mnist5k.splits["test"]] * 0.97).astype(np.uint8)
    [finding], _ = find_shift(make_dataset(tmp_path, images, mnist5k.labels, mnist5k.splits))
    assert (finding.code, finding.severity) == ("split_shift", "info")
    assert finding.explanation.startswith(
        "The test images look a little different from the training images. The split "
    )
    assert " accounts for 0.2% " in finding.explanation
    assert finding.what_to_do.startswith("No action is needed")


def test_the_audit_says_how_images_of_another_kind_differ(tmp_path, mnist5k):
    images = mnist5k.images.copy()
    test = mnist5k.splits["test"]
    images[test] = np.maximum(images[test] // 2, 30)
    finding = find_shift(make_dataset(tmp_path, images, mnist5k.labels, mnist5k.splits))[0][-1]
    assert (
        "different from the training images: they are brighter, have less contrast and are smoother"
        in finding.explanation
    )


def test_floats_on_another_scale_are_identified(tmp_path, mnist5k):
    images = mnist5k.images.astype(np.float32)
    images[mnist5k.splits["test"]] /= 255
    dataset = make_dataset(tmp_path, images, mnist5k.labels, mnist5k.splits)
    [finding] = [finding for finding in find_shift(dataset)[0] if finding.severity == "critical"]
    assert (finding.code, finding.numbers["split"]) == ("scale_mismatch", "test")
    assert finding.numbers["effect_once_undone"] < 0.01
    assert make_offer(finding) == {"pixel_values": {"test": {"factor": 255.0}}}


def test_swapped_channels_are_identified(tmp_path, mnist5k):
    shade = np.array([1.0, 0.8, 0.4])
    images = (mnist5k.images * shade).astype(np.uint8)
    images[mnist5k.splits["test"]] = images[mnist5k.splits["test"]][..., ::-1]
    dataset = make_dataset(tmp_path, images, mnist5k.labels, mnist5k.splits)
    assert "channel_order_mismatch" in get_codes(find_shift(dataset)[0])


def test_splits_with_few_images_are_reported_as_not_compared(tmp_path):
    dataset = make_dataset(tmp_path, noise((60, 12, 12, 1)), None, make_splits(30, 15, 15))
    found, checks = find_shift(dataset)
    assert found == []
    assert checks["shift_test"] == {"train": 30, "test": 15, "skipped": "fewer than 20 images"}


def test_another_order_of_classes_is_found(tmp_path, mnist5k):
    labels = mnist5k.labels.copy()
    rows = mnist5k.splits["test"]
    labels[rows] = (labels[rows] + 1) % 10
    dataset = make_dataset(tmp_path, mnist5k.images, labels, mnist5k.splits)
    [finding] = find_label_order(dataset)
    assert finding.numbers["split"] == "test"
    assert finding.numbers["renamed"] == {str(label): str((label - 1) % 10) for label in range(10)}
    assert finding.numbers["accuracy"] < 0.1 < 0.6 < finding.numbers["accuracy_once_renamed"]


def test_random_labels_are_not_called_another_order(tmp_path, mnist5k):
    labels = mnist5k.labels.copy()
    rows = mnist5k.splits["test"]
    labels[rows] = np.random.default_rng(0).integers(0, 10, len(rows))
    assert find_label_order(make_dataset(tmp_path, mnist5k.images, labels, mnist5k.splits)) == []


# --- whole audits --------------------------------------------------------------------------------


def test_an_audit_is_the_same_for_any_number_of_processes(tmp_path):
    path = npz(tmp_path / "a.npz", **arrays_of(300, classes=3))
    _, first = taken(path)
    _, second = taken(path.rename(tmp_path / "b.npz"), limits=IngestLimits(processes=2))
    assert (first / "audit.json").read_bytes() == (second / "audit.json").read_bytes()


def test_an_audit_is_json_with_the_worst_findings_first(tmp_path):
    files = {
        **pictures(30),
        "cat/copy.png": pictures(1)["dog/000.png"],
        "dog/blank.png": encoded(np.zeros((12, 10), np.uint8)),
    }
    report, target = taken(zipped(tmp_path / "a.zip", files))
    audit = json.loads((target / "audit.json").read_text())
    assert [finding["code"] for finding in audit["findings"]] == [finding.code for finding in report.findings]
    assert {"label_conflicts", "blank_images", "test_too_small"} <= get_codes(report.findings)
    order = [("critical", "warning", "info").index(finding["severity"]) for finding in audit["findings"]]
    assert order == sorted(order)
    for finding in audit["findings"]:
        assert finding["explanation"].endswith(".")
        assert finding["what_to_do"].endswith(".")
    [conflict] = [finding for finding in audit["findings"] if finding["code"] == "label_conflicts"]
    assert {"cat/copy.png", "dog/000.png"} == {image["member"] for pair in conflict["pairs"] for image in pair}
    assert set(audit["checks"]) == {"statistics", "copies", "shift_test", "shift_validation"}


def test_a_contact_sheet_shows_only_images_of_its_class(tmp_path):
    files = {
        name: encoded(np.full((16, 16), 60 if name.startswith("cat") else 200, np.uint8) + noise((16, 16), row) % 20)
        for row, name in enumerate(pictures(60))
    }
    _, target = taken(zipped(tmp_path / "a.zip", files))
    for label, (low, high) in enumerate([(60, 80), (200, 220)]):
        with Image.open(target / "preview" / f"{label}.png") as sheet:
            assert sheet.size == (10 * 66 + 2, 4 * 66 + 2)
            shades = np.asarray(sheet)[..., 0]
        pictured = shades[shades != 128]
        assert low <= pictured.min()
        assert pictured.max() < high
        assert len(pictured) > 0.9 * 40 * 64 * 64
