"""A derived version equals an upload of fixed arrays, byte for byte; the arrays are fixed by plain numpy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, load
from analysis.arrays.relations import FILE_NAME, find_superfluous_copies, load_relations
from heldout.fixes.changes import VersionChanges
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.uploads import ALONE, Report, add_audit, noise, npz, taken
from worker.ingest.parent import parse_answer
from worker.ingest.pipeline import derive
from worker.ingest.rejection import Rejection
from worker.ingest.sources.stored import read_base

CLASSES = ("cat", "dog", "owl")
KEYS = {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
Arrays = dict[str, Any]


def make_arrays(shape: tuple[int, ...] = (10, 10, 3), dtype: type = np.uint8) -> Arrays:
    """Make 36, 12 and 12 images of three alternating classes."""
    counts = {"train": 36, "validation": 12, "test": 12}
    found: Arrays = {"class_names": np.array(CLASSES)}
    for seed, (split, count) in enumerate(counts.items()):
        images, labels = KEYS[split]
        found[images] = noise((count, *shape), seed).astype(dtype)
        found[labels] = np.arange(count) % 3
    return found


def with_copies() -> Arrays:
    """Copy test images 0 to 3 to train, the last with another label, and train image 5 to validation and train."""
    found = make_arrays()
    found["x_train"][10:14], found["y_train"][10:14] = found["x_test"][:4], found["y_test"][:4]
    found["y_train"][13] = (found["y_test"][3] + 1) % 3
    found["x_train"][20], found["y_train"][20] = found["x_train"][5], found["y_train"][5]
    found["x_val"][7], found["y_val"][7] = found["x_train"][5], found["y_train"][5]
    return found


@pytest.fixture
def derived(tmp_path: Path):
    """Upload arrays, and derive a version with changes."""

    def derived(
        content: Arrays, changes: dict[str, Any], group_by: str | None = None, **splits: Any
    ) -> tuple[Report, Path]:
        report, base = taken(npz(tmp_path / "base.npz", **content), DatasetSpec(name="pets", group_by=group_by))
        spec = DatasetSpec(name="pets", group_by=group_by, splits=splits)
        target = tmp_path / "derived"
        made = VersionChanges.model_validate(changes)
        version = read_base(base, base / "members.txt", "pets@1", report.sha256)
        return add_audit(derive(version, spec, made, target, ALONE), target), target

    return derived


@pytest.fixture
def refused(derived, tmp_path: Path):
    def refused(content: Arrays, changes: dict[str, Any]) -> Rejection:
        with pytest.raises(Rejection) as caught:
            derived(content, changes)
        assert list((tmp_path / "derived").iterdir()) == []
        return caught.value

    return refused


def upload(tmp_path: Path, content: Arrays, **spec: Any) -> Report:
    return taken(npz(tmp_path / "fixed.npz", **content), DatasetSpec(name="pets", **spec))[0]


def remove(content: Arrays, split: str, rows: list[int]) -> None:
    for key in KEYS[split]:
        content[key] = np.delete(content[key], rows, axis=0)


def excluded(content: Arrays) -> dict[str, Any]:
    remove(content, "train", [0, 7])
    remove(content, "test", [2])
    return {"exclude": [0, "7", "x_test[2]"]}


def relabelled(content: Arrays) -> dict[str, Any]:
    content["y_train"][4] = 2
    content["y_test"][1] = 0
    return {"relabel": {"4": "owl", "x_test[1]": "cat"}}


def renamed(content: Arrays) -> dict[str, Any]:
    content["class_names"] = np.array(["kitten", "dog", "owl"])
    return {"rename_classes": {"cat": "kitten"}}


def merged(content: Arrays) -> dict[str, Any]:
    content["class_names"] = np.array(["cat", "dog"])
    for _, labels in KEYS.values():
        content[labels] = np.array([0, 1, 0])[content[labels]]
    return {"rename_classes": {"owl": "cat"}}


def in_another_order(content: Arrays) -> dict[str, Any]:
    content["y_test"] = np.array([1, 2, 0])[content["y_test"]]
    return {"rename_classes": {"test": {"cat": "dog", "dog": "owl", "owl": "cat"}}}


def everything_named(content: Arrays) -> dict[str, Any]:
    """Classes of the split are put in order first, then images are relabelled, then classes are renamed."""
    content["y_test"] = np.array([1, 0, 2])[content["y_test"]]
    content["y_test"][5] = 2
    content["class_names"] = np.array(["cat", "dog", "bird"])
    content["x_test"] = content["x_test"][..., ::-1]
    remove(content, "test", [4])
    return {
        "pixel_values": {"test": "swap_channels"},
        "rename_classes": {"owl": "bird", "test": {"cat": "dog", "dog": "cat"}},
        "relabel": {"x_test[5]": "owl"},
        "exclude": ["x_test[4]"],
    }


def changed_pixels(name: Any, change: Any) -> Any:
    def fix(content: Arrays) -> dict[str, Any]:
        content["x_validation"] = content.pop("x_val")  # the same split under its other key
        content["y_validation"] = content.pop("y_val")
        content["x_test"] = np.ascontiguousarray(change(content["x_test"]))
        return {"pixel_values": {"test": name}}

    return fix


def darken(images: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(0.5 * images.astype(np.float64) + 3, 0, 255)).astype(np.uint8)


def replace_ends(images: np.ndarray) -> np.ndarray:
    values = np.where(images == 0, 9.0, np.where(images == 255, 201.4, 2 * images.astype(np.float64)))
    return np.rint(values.clip(0, 255)).astype(np.uint8)


CHANGES = {
    "exclude": excluded,
    "relabel": relabelled,
    "rename": renamed,
    "merge": merged,
    "label_order": in_another_order,
    "together": everything_named,
    "invert": changed_pixels("invert", lambda x: 255 - x),
    "swap_channels": changed_pixels("swap_channels", lambda x: x[..., [2, 1, 0]]),
    "transpose": changed_pixels("transpose", lambda x: np.swapaxes(x, 1, 2)),
    "turn_left": changed_pixels("turn_left", lambda x: np.stack([np.rot90(image) for image in x])),
    "turn_right": changed_pixels("turn_right", lambda x: np.stack([np.rot90(image, -1) for image in x])),
    "upside_down": changed_pixels("upside_down", lambda x: np.stack([np.rot90(image, 2) for image in x])),
    "flip_vertical": changed_pixels("flip_vertical", lambda x: np.stack([np.flipud(image) for image in x])),
    "flip_horizontal": changed_pixels("flip_horizontal", lambda x: np.stack([np.fliplr(image) for image in x])),
    "linear": changed_pixels({"factor": 0.5, "offset": 3.0}, darken),
    "ends": changed_pixels({"factor": 2.0, "bottom": 9.0, "top": 201.4}, replace_ends),
}


@pytest.mark.parametrize("fix", CHANGES.values(), ids=CHANGES)
def test_a_derived_version_equals_an_upload_of_the_fixed_arrays(derived, tmp_path, fix):
    content = make_arrays()
    fixed = {key: value.copy() for key, value in content.items()}
    found, target = derived(content, fix(fixed))
    reference = upload(tmp_path, fixed)
    assert (found.sha256, found.splits, found.classes) == (reference.sha256, reference.splits, reference.classes)
    whole = tmp_path / "fixed.npz-target"
    assert {path.name for path in target.iterdir()} == {path.name for path in whole.iterdir()}


def test_one_of_several_copies_stays_preferably_in_test_and_none_if_labels_differ(derived, tmp_path):
    content = with_copies()
    found, target = derived(content, {"drop_copies": True})
    remove(content, "train", [5, 10, 11, 12, 13, 20])
    remove(content, "test", [3])
    assert found.sha256 == upload(tmp_path, content).sha256
    assert {finding.code for finding in found.findings} == {"test_too_small"}
    changes = found.source["changes"]
    assert (changes["copies_left_out"], changes["contradicting_left_out"], changes["from"]) == (5, 2, "pets@1")
    assert changes["summary"] == "5 copies left out; 2 copies with contradicting labels left out"
    assert [(part["what"], part["count"]) for part in found.source["left_out"]] == [("copies", 7)]
    names = (target / "members.txt").read_text().splitlines()
    assert names[5:7] == ["x_train[6]", "x_train[7]"]
    assert len(names) == len(load(target).labels) == 60 - 7


def test_a_corrected_label_resolves_a_contradiction_between_copies(derived):
    found, _ = derived(with_copies(), {"drop_copies": True, "relabel": {"x_train[13]": "cat"}})
    changes = found.source["changes"]
    assert (changes["relabelled"], changes["copies_left_out"], changes["contradicting_left_out"]) == (1, 6, 0)


def test_copies_are_found_among_the_changed_pixels(derived):
    content = with_copies()
    content["x_test"] = 255 - content["x_test"]
    found, _ = derived(content, {"drop_copies": True, "pixel_values": {"test": "invert"}})
    assert found.source["changes"]["summary"].startswith("12 test images changed; 5 copies left out; 2 copies with ")
    assert "leakage" not in {finding.code for finding in found.findings}


def test_new_splits_are_those_of_an_upload_with_merged_splits(derived, tmp_path):
    content, splits = make_arrays(), {"existing": "merge", "test": 0.3, "seed": 5}
    found, _ = derived(content, {"resplit": True}, **splits)
    reference = upload(tmp_path, content, splits=splits)
    assert found.sha256 == reference.sha256
    assert found.source["splits"]["test"] == reference.source["splits"]["test"]
    assert found.source["changes"]["summary"] == "all images split again"


def test_kept_splits_name_the_version_that_they_come_from(derived):
    found, target = derived(make_arrays(), {"exclude": [0]})
    assert found.source["splits"] == dict.fromkeys(SPLITS, "pets@1")
    assert json.loads((target / "audit.json").read_text())["source"] == found.source


def test_groups_stay_together_in_new_splits(derived):
    rule = r"\[(\d)"  # images whose numbers start with the same digit are a group across all splits
    found, target = derived(make_arrays(), {"resplit": True}, rule, existing="merge")
    names = (target / "members.txt").read_text().splitlines()
    groups = {split: {names[row].partition("[")[2][0] for row in rows} for split, rows in load(target).splits.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 10
    assert found.source["groups"] == 10


def test_rescaled_floats_equal_an_upload_on_the_same_scale(derived, tmp_path):
    content = make_arrays(dtype=np.float32)
    fixed = {key: value.copy() for key, value in content.items()}
    content["x_train"], content["x_val"] = content["x_train"] / 256, content["x_val"] / 256
    fixed["x_train"], fixed["x_val"] = content["x_train"], content["x_val"]
    fixed["x_test"] = fixed["x_test"] / 256
    found, _ = derived(content, {"pixel_values": {"test": {"factor": 1 / 256}}})
    assert found.value_range == (0, 1)
    assert found.sha256 == upload(tmp_path, fixed).sha256


def test_a_class_without_images_is_removed(derived, tmp_path):
    content = make_arrays()
    owls = {split: np.flatnonzero(content[KEYS[split][1]] == 2).tolist() for split in SPLITS}
    named = [f"{KEYS[split][0]}[{row}]" for split, rows in owls.items() for row in rows]
    found, _ = derived(content, {"exclude": named})
    assert found.classes == ("cat", "dog")
    assert found.source["changes"]["gone_classes"] == ["owl"]
    for split, rows in owls.items():
        remove(content, split, rows)
    del content["class_names"]
    content |= {"class_names": np.array(["cat", "dog"])}
    assert found.sha256 == upload(tmp_path, content).sha256


def test_images_without_names_are_addressed_by_position(tmp_path):
    report, base = taken(npz(tmp_path / "base.npz", **make_arrays()))
    spec = DatasetSpec(name="digits", group_by="(nothing that matches)")
    changes = VersionChanges.model_validate({"exclude": ["3"]})
    derive(read_base(base, None, "digits@1 (bundled)", report.sha256), spec, changes, tmp_path / "derived", ALONE)
    assert (tmp_path / "derived" / "members.txt").read_text().splitlines()[2:4] == ["digits[2]", "digits[4]"]


# --- refused ---------------------------------------------------------------------------------------


def test_unknown_images_are_refused(refused):
    rejection = refused(make_arrays(), {"exclude": ["a.png", 0], "relabel": {"b.png": "cat"}})
    assert (rejection.code, rejection.member) == ("unknown_image", "a.png")
    assert "'x_train[0]'" in rejection.detail


def test_an_image_cannot_be_given_two_classes(refused):
    rejection = refused(make_arrays(), {"relabel": {"0": "cat", "x_train[0]": "dog"}})
    assert rejection.code == "bad_labels"
    assert "given two classes, 'cat' and 'dog'" in rejection.detail


def test_a_split_must_not_become_empty(refused):
    rejection = refused(make_arrays(), {"exclude": [f"x_test[{row}]" for row in range(12)]})
    assert rejection.code == "too_few_images"
    assert rejection.detail.startswith("No test image would be left.")


@pytest.mark.parametrize("changes", [{"drop_copies": True}, {"relabel": {"0": "cat"}}])
def test_changes_that_change_nothing_are_refused(refused, changes):
    assert refused(make_arrays(), changes).code == "nothing_changed"


def test_pairs_marked_as_different_stay_so_in_the_derived_version(tmp_path):
    content = make_arrays()
    content["x_test"][:3] = content["x_train"][:3] // 2 + 60
    report, base = taken(npz(tmp_path / "base.npz", **content), DatasetSpec(name="pets"))
    names = (base / "members.txt").read_text().split("\n")[:-1]
    at = {name: row for row, name in enumerate(names)}
    pairs = [[at[f"x_train[{row}]"], at[f"x_test[{row}]"]] for row in range(3)]
    changes = VersionChanges.model_validate({"exclude": [f"x_train[{row}]" for row in (1, 5)]})
    target = tmp_path / "derived"
    version = read_base(base, base / "members.txt", "pets@1", report.sha256, pairs)
    found = derive(version, DatasetSpec(name="pets"), changes, target, ALONE)
    left = (target / "members.txt").read_text().split("\n")[:-1]
    kept = [[left[first], left[second]] for first, second in found.different]
    assert kept == [[f"x_train[{row}]", f"x_test[{row}]"] for row in (0, 2)]  # image 1 is gone
    assert parse_answer("derive", {"ingested": json.loads(json.dumps(asdict(found)))}) == found


def test_copies_that_features_found_are_dropped_kept_in_one_split_and_known_to_the_derived_version(tmp_path):
    content = make_arrays()
    content["x_test"][:6] = np.rot90(content["x_train"][:6], axes=(1, 2))
    content["y_test"][:6] = content["y_train"][:6]
    report, base = taken(npz(tmp_path / "base.npz", **content), DatasetSpec(name="pets"))
    names = (base / "members.txt").read_text().split("\n")[:-1]
    pairs = [[names.index(f"x_test[{row}]"), names.index(f"x_train[{row}]")] for row in range(6)]
    version = read_base(base, base / "members.txt", "pets@1", report.sha256, (), pairs)
    for number, body in enumerate(({"drop_copies": True}, {"exclude": ["x_train[0]"]}, {"resplit": True})):
        target = tmp_path / f"derived{number}"
        spec = DatasetSpec.model_validate(
            {"name": "pets", "splits": {"existing": "merge"} if "resplit" in body else {}}
        )
        derive(version, spec, VersionChanges.model_validate(body), target, ALONE)
        left, images = (target / "members.txt").read_text().split("\n")[:-1], load(target)
        copy_of = load_relations(target / FILE_NAME).copy_of
        both = [
            [left.index(f"{part}[{row}]") for part in ("x_test", "x_train")]
            for row in range(6)
            if f"x_train[{row}]" in left
        ]
        assert [copy_of[first] == copy_of[second] for first, second in both] == [True] * (0, 5, 6)[number]
        audit = json.loads((target / "audit.json").read_text())
        leaks = [finding["numbers"] for finding in audit["findings"] if finding["code"] == "leakage"]
        assert [leak["test_in_train"]["how"] for leak in leaks] == (
            [{"found by features before": 5}] if number == 1 else []
        )
        if number == 2:
            split_of = {row: split for split, rows in images.splits.items() for row in rows.tolist()}
            assert all(split_of[first] == split_of[second] for first, second in both)


# --- which copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_superfluous_copies_are_those_found_by_a_loop(seed):
    random = np.random.default_rng(seed)
    copy_of = random.integers(0, 20, 40).astype(np.int32)
    copy_of = np.array([np.flatnonzero(copy_of == first)[0] for first in copy_of], np.int32)
    split_of = random.integers(0, 3, 40).astype(np.int8)
    labels = (copy_of % 3 + (random.random(40) < 0.1)).astype(np.int32)
    dropped, conflicting = set[int](), set[int]()
    for first in set(copy_of.tolist()):
        rows = np.flatnonzero(copy_of == first).tolist()
        if len({int(labels[row]) for row in rows}) > 1:
            conflicting |= set(rows)
            continue
        stays = min(rows, key=lambda row: (("test", "validation", "train").index(SPLITS[split_of[row]]), row))
        dropped |= set(rows) - {stays}
    found = find_superfluous_copies(copy_of, labels, split_of)
    assert [part.tolist() for part in found] == [sorted(dropped), sorted(conflicting)]
    assert dropped
    assert conflicting
