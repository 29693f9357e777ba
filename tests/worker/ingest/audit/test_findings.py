"""What an audit says about good and spoiled datasets; every check stays silent if nothing is wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.arrays.dataset import SPLITS
from heldout.fixes.changes import LinearChange, VersionChanges
from heldout.fixes.offers import make_offer
from tests.worker.ingest.audit.test_copies import dataset_of, scanned, three
from tests.worker.ingest.uploads import arrays_of, encoded, noise, npz, pictures, taken, zipped
from worker.ingest.audit.counts import compute_statistics, count_findings, find_value_faults
from worker.ingest.audit.samples import find_label_order
from worker.ingest.audit.scan import replace_splits
from worker.ingest.audit.shift import MISTAKES, find_shift
from worker.ingest.sources.stored import change_pixels


def codes(findings) -> set[str]:
    return {finding.code for finding in findings}


def counted(tmp_path, train, validation, test):
    """Findings about a set with this many images of each class in each split."""
    labels = np.concatenate([np.repeat(np.arange(len(split)), split) for split in (train, validation, test)])
    images = np.zeros((len(labels), 8, 8, 1), np.uint8)
    splits = three(sum(train), sum(validation), sum(test))
    return {finding.code: finding for finding in count_findings(dataset_of(tmp_path, images, labels, splits))}


# --- counts --------------------------------------------------------------------------------------


def test_even_classes_and_a_large_test_raise_nothing(tmp_path):
    assert counted(tmp_path, [300, 300], [50, 50], [100, 100]) == {}


def test_a_class_that_a_split_does_not_have_is_named(tmp_path):
    found = counted(tmp_path, [300, 300, 0], [50, 50, 20], [100, 0, 100])
    assert found["class_missing"].severity == "critical"
    assert found["class_missing"].numbers == {
        "train": {"count": 1, "classes": ["2"]},
        "test": {"count": 1, "classes": ["1"]},
    }
    assert found["class_missing"].explanation.startswith(
        "1 of 3 classes (2) has no training images. 1 of 3 classes (1) has no test images."
    )
    assert counted(tmp_path, [300, 300], [50, 0], [100, 100])["class_missing"].severity == "warning"


@pytest.mark.parametrize(
    ("train", "severity"), [([299, 100], None), ([300, 100], "warning"), ([2000, 100], "critical")]
)
def test_imbalance_is_reported_by_its_ratio(tmp_path, train, severity):
    share = [round(120 * count / sum(train)) for count in train]
    found = counted(tmp_path, train, share, [2 * count for count in share]).get("class_imbalance")
    assert (found.severity if found else None) == severity
    if found:
        assert found.numbers["ratio"] == train[0] / train[1]
        assert f"'1' has {train[1]:,} training images, but class '0' has {train[0]:,}." in found.explanation
        assert found.numbers["majority_accuracy"] == round(train[0] / sum(train), 6)


def test_classes_that_are_not_equally_frequent_in_all_splits_are_reported(tmp_path):
    found = counted(tmp_path, [300, 300], [50, 50], [160, 40])
    assert found["class_shift"].numbers["test"]["distance"] == pytest.approx(0.3)
    assert "validation" not in found["class_shift"].numbers
    # Ten images that fall 8 to 2 are chance.
    assert "class_shift" not in counted(tmp_path, [300, 300], [8, 2], [100, 100])


def test_a_test_that_is_too_small_is_reported_with_its_interval(tmp_path):
    found = counted(tmp_path, [300, 300], [50, 50], [20, 20])["test_too_small"]
    assert found.numbers["count"] == 40
    low, high = found.numbers["interval_at_90_percent"]
    assert low < 0.8 < 0.95 < high
    # The interval that statsmodels gives for 36 of 40: 0.7695 to 0.9604.
    assert found.explanation.startswith(
        "With 40 test images, an accuracy of 90% is only known to ±9.5 points (76.9–96.0%)."
    )


# --- values --------------------------------------------------------------------------------------


def values(tmp_path, images, value_range=(0, 255)):
    count = len(images)
    dataset = dataset_of(tmp_path, images, None, three(count - 20, 10, 10), value_range)
    seen = scanned(dataset)
    return {finding.code: finding for finding in find_value_faults(dataset, seen)}, compute_statistics(dataset, seen)


def test_statistics_are_those_of_numpy(tmp_path, mnist5k):
    images = mnist5k.images[::20]
    _, found = values(tmp_path, images)
    train = images[:-20].astype(float)
    assert found["train"]["channels"][0]["mean"] == pytest.approx(train.mean(), rel=1e-4)
    assert found["train"]["channels"][0]["std"] == pytest.approx(train.std(), rel=1e-4)
    assert found["train"]["channels"][0]["p99"] == pytest.approx(np.quantile(train, 0.99), abs=1)
    assert (found["test"]["low"], found["test"]["high"]) == (images[-10:].min(), images[-10:].max())


def test_statistics_of_floats_are_close_to_those_of_numpy(tmp_path):
    images = np.random.default_rng(0).normal(0.5, 0.1, (60, 12, 12, 3)).clip(0, 1).astype(np.float32)
    found, numbers = values(tmp_path, images, (0.0, 1.0))
    assert numbers["train"]["channels"][2]["mean"] == pytest.approx(images[:-20, ..., 2].mean(), abs=0.005)
    assert numbers["train"]["channels"][2]["std"] == pytest.approx(images[:-20, ..., 2].std(), abs=0.005)
    assert found == {}


def test_histograms_follow_images_that_move_between_splits(tmp_path, mnist5k):
    before = dataset_of(tmp_path, mnist5k.images, mnist5k.labels, mnist5k.splits)
    after = replace(before, splits={**before.splits, "train": before.splits["test"], "test": before.splits["train"]})
    moved = replace_splits(scanned(before), after)
    np.testing.assert_array_equal(moved.histograms, scanned(after).histograms)
    assert not np.array_equal(moved.histograms, scanned(before).histograms)


def test_blank_images_are_found_whatever_their_shade(tmp_path):
    images = noise((60, 12, 12, 1))
    images[3], images[55] = 0, 200
    found, _ = values(tmp_path, images)
    assert set(found) == {"blank_images"}
    assert [example.index for example in found["blank_images"].examples] == [3, 55]
    assert found["blank_images"].numbers["test"] == 1
    assert make_offer(found["blank_images"]) == {"exclude": [3, 55]}
    assert found["blank_images"].explanation.startswith("2 of 60 images (3%) have one colour throughout.")


def test_values_that_use_little_of_their_range_are_reported(tmp_path):
    assert set(values(tmp_path, noise((60, 12, 12, 1)) // 16)[0]) == {"narrow_range"}
    assert values(tmp_path, noise((60, 12, 12, 1)))[0] == {}


def test_three_equal_channels_are_reported_and_coloured_ones_are_not(tmp_path):
    assert set(values(tmp_path, np.repeat(noise((60, 12, 12, 1)), 3, axis=3))[0]) == {"grey_as_rgb"}
    assert values(tmp_path, noise((60, 12, 12, 3)))[0] == {}


# --- shift ---------------------------------------------------------------------------------------


def shifted(tmp_path, source, change, **options):
    """Findings about real digits whose test images were changed."""
    images = source.images.copy()
    rows = source.splits["test"]
    images[rows] = change(images[rows])
    dataset = dataset_of(tmp_path, images, source.labels, source.splits, source.value_range)
    found, _ = find_shift(dataset)
    return [finding for finding in found if finding.severity != "info"]


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_a_random_split_raises_nothing(tmp_path, request, source):
    """Sixteen random splits of real images: not even an information, which two in ten thousand would raise."""
    images = request.getfixturevalue(source)
    labels = np.asarray(images.labels)
    probabilities = []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(len(labels))
        parts = np.split(order, [len(order) * 7 // 10, len(order) * 8 // 10])
        splits = dict(zip(SPLITS, (np.sort(part) for part in parts), strict=True))
        dataset = dataset_of(tmp_path, images.images, labels, splits, images.value_range)
        found, checks = find_shift(dataset)
        assert found == []
        assert find_label_order(dataset) == []
        probabilities += [checks["shift_test"]["p_value"], checks["shift_validation"]["p_value"]]
    # And what is left of chance is even: neither all small nor all large.
    assert 0.25 < np.mean(probabilities) < 0.75


@pytest.mark.parametrize("source", ["digits", "mnist5k"])
def test_bundled_splits_raise_nothing_above_info(tmp_path, request, source):
    assert shifted(tmp_path, request.getfixturevalue(source), lambda images: images) == []


def test_class_proportions_alone_are_no_shift(tmp_path, mnist5k):
    """Each class counts alike, so that more sevens in the test are not other pictures."""
    rows = mnist5k.splits["test"]
    keep = np.concatenate([rows[mnist5k.labels[rows] == 7], rows[mnist5k.labels[rows] != 7][::6]])
    splits = {**mnist5k.splits, "test": np.sort(keep)}
    dataset = dataset_of(tmp_path, mnist5k.images, mnist5k.labels, splits)
    assert all(finding.severity == "info" for finding in find_shift(dataset)[0])
    assert "class_shift" in codes(count_findings(dataset))


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


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_one_split_is_called_by_its_name(tmp_path, mnist5k, slip):
    change, code, says = SLIPS[slip]
    [finding] = shifted(tmp_path, mnist5k, change)
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
        assert offered is None  # whole numbers that were scaled down are lost
    else:
        images = mnist5k.images[mnist5k.splits["test"]]
        undo = VersionChanges.model_validate(offered).pixel_values.group_by_split()["test"]
        assert np.array_equal(change_pixels(change(images), undo, mnist5k.value_range), images)


def test_a_mistake_in_both_held_out_splits_is_reported_once_and_cured_in_both(tmp_path, mnist5k):
    images = mnist5k.images.copy()
    images[mnist5k.splits["train"]] = 255 - images[mnist5k.splits["train"]]
    found, _ = find_shift(dataset_of(tmp_path, images, mnist5k.labels, mnist5k.splits))
    [finding] = found
    assert make_offer(finding) == {"pixel_values": {"test": "invert", "validation": "invert"}}


@pytest.mark.parametrize(("scale", "low", "high"), [((255.0, 0.0), 0, 255), ((2.0, -1.0), -1, 1), ((0.5, 0.5), -1, 1)])
def test_numbers_that_undo_a_mistake_mean_the_same_in_pixel_values(scale, low, high):
    """On images in [0, 1] as the audit undoes it; on stored pixels as a new version does."""
    [mistake] = [one for one in MISTAKES if one.change == scale]
    values = np.linspace(low, high, 50).reshape(1, 5, 10, 1).astype(np.float32)
    change = LinearChange.model_validate(mistake.make_cure((low, high)))
    expected = low + (high - low) * mistake.undo((values - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(change_pixels(values, change, (low, high)), expected, atol=1e-6)


def test_a_shift_that_hardly_matters_does_not_read_like_an_alarm(tmp_path, mnist5k):
    images = mnist5k.images.copy()
    images[mnist5k.splits["test"]] = (images[mnist5k.splits["test"]] * 0.97).astype(np.uint8)
    [finding], _ = find_shift(dataset_of(tmp_path, images, mnist5k.labels, mnist5k.splits))
    assert (finding.code, finding.severity) == ("split_shift", "info")
    assert finding.explanation.startswith("The test images differ a little from the training images: being of another ")
    assert " explains 0.2% " in finding.explanation
    assert finding.what_to_do.startswith("No action is needed")


def test_floats_on_another_scale_are_called_by_their_name(tmp_path, mnist5k):
    images = mnist5k.images.astype(np.float32)
    images[mnist5k.splits["test"]] /= 255
    dataset = dataset_of(tmp_path, images, mnist5k.labels, mnist5k.splits)
    [finding] = [finding for finding in find_shift(dataset)[0] if finding.severity == "critical"]
    assert (finding.code, finding.numbers["split"]) == ("scale_mismatch", "test")
    assert finding.numbers["effect_once_undone"] < 0.01
    assert make_offer(finding) == {"pixel_values": {"test": {"factor": 255.0}}}


def test_exchanged_channels_are_called_by_their_name(tmp_path, mnist5k):
    shade = np.array([1.0, 0.8, 0.4])
    images = (mnist5k.images * shade).astype(np.uint8)
    images[mnist5k.splits["test"]] = images[mnist5k.splits["test"]][..., ::-1]
    dataset = dataset_of(tmp_path, images, mnist5k.labels, mnist5k.splits)
    assert "channel_order_mismatch" in codes(find_shift(dataset)[0])


def test_a_few_images_are_not_compared_and_that_is_reported(tmp_path):
    dataset = dataset_of(tmp_path, noise((60, 12, 12, 1)), None, three(30, 15, 15))
    found, checks = find_shift(dataset)
    assert found == []
    assert checks["shift_test"] == {"train": 30, "test": 15, "skipped": "fewer than 20 images"}


def test_another_order_of_classes_is_seen(tmp_path, mnist5k):
    labels = mnist5k.labels.copy()
    rows = mnist5k.splits["test"]
    labels[rows] = (labels[rows] + 1) % 10
    dataset = dataset_of(tmp_path, mnist5k.images, labels, mnist5k.splits)
    [finding] = find_label_order(dataset)
    assert finding.numbers["split"] == "test"
    assert finding.numbers["renamed"] == {str(label): str((label - 1) % 10) for label in range(10)}
    assert finding.numbers["accuracy"] < 0.1 < 0.6 < finding.numbers["accuracy_once_renamed"]


def test_noisy_labels_are_not_called_another_order(tmp_path, mnist5k):
    labels = mnist5k.labels.copy()
    rows = mnist5k.splits["test"]
    labels[rows] = np.random.default_rng(0).integers(0, 10, len(rows))
    assert find_label_order(dataset_of(tmp_path, mnist5k.images, labels, mnist5k.splits)) == []


# --- the whole -----------------------------------------------------------------------------------


def test_an_audit_is_the_same_each_time_and_however_many_processes_make_it(tmp_path):
    from worker.ingest.rejection import IngestLimits

    path = npz(tmp_path / "a.npz", **arrays_of(300, classes=3))
    _, one = taken(path)
    _, other = taken(path.rename(tmp_path / "b.npz"), limits=IngestLimits(processes=2))
    assert (one / "audit.json").read_bytes() == (other / "audit.json").read_bytes()


def test_an_audit_is_json_with_the_worst_first(tmp_path):
    files = {
        **pictures(30),
        "cat/copy.png": pictures(1)["dog/000.png"],
        "dog/blank.png": encoded(np.zeros((12, 10), np.uint8)),
    }
    report, target = taken(zipped(tmp_path / "a.zip", files))
    audit = json.loads((target / "audit.json").read_text())
    assert [finding["code"] for finding in audit["findings"]] == [finding.code for finding in report.findings]
    assert {"label_conflicts", "blank_images", "test_too_small"} <= codes(report.findings)
    order = [("critical", "warning", "info").index(finding["severity"]) for finding in audit["findings"]]
    assert order == sorted(order)
    for finding in audit["findings"]:
        assert finding["explanation"].endswith(".")
        assert finding["what_to_do"].endswith(".")
    [conflict] = [finding for finding in audit["findings"] if finding["code"] == "label_conflicts"]
    assert {"cat/copy.png", "dog/000.png"} == {image["member"] for pair in conflict["pairs"] for image in pair}
    assert set(audit["checks"]) == {"statistics", "copies", "shift_test", "shift_validation"}


def test_a_contact_sheet_shows_images_of_its_class_alone(tmp_path):
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
