"""Folders are recognized as splits or classes, or the upload is refused; no image is lost silently."""

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, load
from heldout.spec.dataset import DatasetSpec, SplitSpec
from tests.worker.ingest.uploads import SPEC, encoded, noise, rejection_of, taken, tarred, zipped


def make_folder(*names: str, classes=("cat", "dog"), each: int = 4) -> dict[str, bytes]:
    """Make different images of each class in each folder."""
    return {
        f"{name}/{label}/{number}.png": make_picture(f"{name}/{label}/{number}")
        for name in names
        for label in classes
        for number in range(each)
    }


def make_flat(*names: str, each: int = 4) -> dict[str, bytes]:
    return {f"{name}/{number}.png": make_picture(f"{name}/{number}") for name in names for number in range(each)}


def make_picture(text: str) -> bytes:
    return encoded(noise(seed=int.from_bytes(text.encode()) % 2**32))


def make_spec(**folders: str) -> DatasetSpec:
    return DatasetSpec(name="pets", splits=SplitSpec(folders=folders))


def group_by_split(target) -> dict[str, set[str]]:
    names = (target / "members.txt").read_text().splitlines()
    return {split: {names[row] for row in rows} for split, rows in load(target).splits.items()}


# --- what is a split -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("Train Images", "Test-Images"),
        ("trainset", "testset"),
        ("trainimages", "testimages"),
        ("TrainImages", "TestImages"),
        ("train2017", "test2017"),
        ("train1", "test1"),
        ("train/images", "test/images"),
        ("data/set1/train", "data/set1/test"),
        ("train/train", "test"),
        ("train/my pets", "test/my pets"),
        ("pets-train/pets", "pets-test/other pets"),
    ],
)
def test_well_known_names_of_splits_are_recognized(tmp_path, train, test):
    report, target = taken(zipped(tmp_path / "a.zip", make_folder(train, test)))
    assert report.classes == ("cat", "dog")
    splits = group_by_split(target)
    assert splits["test"] == set(make_folder(test))
    assert splits["train"] | splits["validation"] == set(make_folder(train))


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "validation_set"])
def test_validation_has_many_names(tmp_path, name):
    _, target = taken(zipped(tmp_path / "a.zip", make_folder("train", name, "testing")))
    assert group_by_split(target) == {
        "train": set(make_folder("train")),
        "validation": set(make_folder(name)),
        "test": set(make_folder("testing")),
    }


@pytest.mark.parametrize(
    ("stray", "member"),
    [
        (make_flat("samples"), "samples"),
        (make_folder("samples"), "samples"),
        (make_folder("fold0", "fold1", "fold2", "fold3", "fold4"), "fold0"),
        (make_folder("extra_unlabeled"), "extra_unlabeled"),
    ],
    ids=["pictures", "classes", "folds", "unlabelled with classes"],
)
@pytest.mark.parametrize("splits", [("train", "test"), ("train",), ("seg_train", "seg_test")])
def test_an_unknown_folder_next_to_splits_is_refused_with_advice(tmp_path, stray, member, splits):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**make_folder(*splits), **stray}))
    assert (rejection.code, rejection.member) == ("unexpected_layout", member)
    assert repr(splits[0]) in rejection.detail
    assert f"`--folder {member}=ignore`" in rejection.detail


def test_the_spec_can_ignore_a_folder(tmp_path):
    files = {**make_folder("train", "test"), **make_flat("samples")}
    report, target = taken(zipped(tmp_path / "a.zip", files), make_spec(samples="ignore"))
    assert set().union(*group_by_split(target).values()) == set(make_folder("train", "test"))
    [left_out] = report.source["left_out"]
    assert "'samples'" in left_out["what"]
    assert (left_out["count"], left_out["names"]) == (4, sorted(make_flat("samples")))


def test_folds_become_splits_if_the_spec_assigns_them(tmp_path):
    files = make_folder("fold0", "fold1", "fold2")
    refused = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (refused.code, refused.member) == ("unexpected_layout", "fold0")
    _, target = taken(zipped(tmp_path / "b.zip", files), make_spec(fold0="train", fold1="train", fold2="test"))
    splits = group_by_split(target)
    assert splits["train"] | splits["validation"] == set(make_folder("fold0", "fold1"))
    assert splits["test"] == set(make_folder("fold2"))


def test_a_spec_for_a_missing_folder_is_refused(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", make_folder("train", "test")), make_spec(fold9="test"))
    assert (rejection.code, rejection.member) == ("unexpected_layout", "fold9")
    assert "'test' and 'train'" in rejection.detail


@pytest.mark.parametrize("name", ["seg_pred", "seg_pred/seg_pred", "unlabeled", "unlabelled/images"])
def test_images_without_labels_are_left_out_and_counted(tmp_path, name):
    report, target = taken(zipped(tmp_path / "a.zip", {**make_folder("seg_train", "seg_test"), **make_flat(name)}))
    assert set().union(*group_by_split(target).values()) == set(make_folder("seg_train", "seg_test"))
    [left_out] = report.source["left_out"]
    assert left_out["what"].startswith("images without labels")
    assert left_out["count"] == 4


def test_a_split_without_class_folders_is_refused_and_can_be_ignored(tmp_path):
    files = {**make_folder("train"), **make_flat("test")}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (rejection.code, rejection.member) == ("unexpected_layout", "test/0.png")
    assert "`--folder test=ignore`" in rejection.detail
    report, _ = taken(zipped(tmp_path / "b.zip", files), make_spec(test="ignore"))
    assert report.classes == ("cat", "dog")


@pytest.mark.parametrize("inside", ["test/test", "test/images", "test/test/test"])
def test_a_folder_that_repeats_the_split_is_not_a_class(tmp_path, inside):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**make_folder("train"), **make_flat(inside)}))
    assert (rejection.code, rejection.member) == ("unexpected_layout", f"{inside}/0.png")


def test_images_without_labels_next_to_classes_are_left_out_too(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", make_flat("cat", "dog", "unlabeled", each=10)))
    assert (report.classes, report.source["left_out"][0]["count"]) == (("cat", "dog"), 10)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (make_flat("train", "test"), "8 images lie in the splits 'test' and 'train' and in no class folder"),
        (make_flat("trainA", "trainB", "testA", "testB"), "both names of the train split"),
        (make_folder("set1", "set2"), "look like parts of one dataset"),
        ({**make_folder("my"), "my/preview.png": make_picture("x")}, "'my/preview.png' is in no class folder"),
        (
            {"1.png": make_picture("1"), "2.png": make_picture("2"), "labels.csv": b"path,label\n1.png,cat"},
            "The table 'labels.csv' is not read: it has 'path', 'label', but no column `file`",
        ),
        ({**make_flat("images"), "labels.xlsx": b"x"}, "The table 'labels.xlsx' may say"),
        ({**make_flat("train/images"), "train/labels/0.txt": b"0 1 1 1 1"}, "'train/labels/0.txt' looks like boxes"),
        ({**make_flat("images"), "annotations/all.json": b"{}"}, "'annotations/all.json' looks like boxes"),
    ],
)
def test_a_refusal_names_the_real_cause(tmp_path, files, message):
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert rejection.code in ("unexpected_layout", "too_few_classes")
    assert message in rejection.detail


def test_folders_inside_classes_are_mentioned(tmp_path):
    files = {**make_folder("pets"), **make_flat("overview")}
    report, _ = taken(zipped(tmp_path / "a.zip", files))
    assert report.classes == ("overview", "pets")
    [note] = report.source["notes"]
    assert "'pets' has 2, such as 'cat', 'dog'" in note


def test_two_names_of_the_same_split_are_refused(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", make_folder("train", "val", "dev", "test")))
    assert rejection.code == "unexpected_layout"
    assert "'dev' and 'val'" in rejection.detail


def test_a_train_among_other_vehicles_is_a_class(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", make_flat("train", "car", "plane", each=10)))
    assert report.classes == ("car", "plane", "train")


def test_a_class_may_have_the_name_of_a_split_if_the_spec_says_so(tmp_path):
    files = make_flat("test", "control", each=10)
    assert rejection_of(zipped(tmp_path / "a.zip", files)).code == "unexpected_layout"
    report, _ = taken(zipped(tmp_path / "b.zip", files), make_spec(test="class"))
    assert report.classes == ("control", "test")


def test_class_names_that_start_like_splits_are_not_splits(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", make_flat("dev_board", "test_board", "oven", each=10)))
    assert report.classes == ("dev_board", "oven", "test_board")


# --- splits inside classes -----------------------------------------------------------------------


def test_splits_inside_classes_are_kept(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", make_folder("cat", "dog", classes=("train", "test"))))
    assert report.classes == ("cat", "dog")
    assert group_by_split(target)["test"] == set(make_folder("cat", "dog", classes=("test",)))
    assert report.source["splits"]["test"] == "upload"


@pytest.mark.parametrize(
    "files",
    [
        make_folder("set1/train", "set1/test", "set2/train", "set2/test"),
        {**make_folder("cat", "dog", classes=("train", "test")), **make_folder("dog", classes=("more",))},
    ],
    ids=["several datasets", "some images in no split"],
)
def test_splits_at_other_levels_are_refused(tmp_path, files):
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert rejection.code == "unexpected_layout"
    assert "Put the splits on top" in rejection.detail


# --- no image is lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".1", ".png.1", ".dat"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_images_are_recognized_by_content_regardless_of_their_names(tmp_path, ending, pack):
    files = {name.removesuffix(".png") + ending: data for name, data in make_flat("cat", "dog", each=10).items()}
    files |= {"cat/notes": b"BM is not enough", "dog/list.csv": b"a,b"}
    report, _ = taken(pack(tmp_path / "a", files))
    assert report.source["images"] == 20
    assert report.source["passed_over"] == {"count": 2, "names": ["cat/notes", "dog/list.csv"]}


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP"])
def test_every_format_is_recognized_by_content(tmp_path, format_):
    files = {f"{name}/{n}": encoded(noise((12, 10, 3), n), format_) for n, name in enumerate(["cat", "dog"] * 8)}
    assert taken(zipped(tmp_path / "a.zip", files))[0].source["images"] == 16


def test_an_unsupported_format_is_refused_even_without_an_extension(tmp_path):
    files = {**make_flat("cat", "dog", each=10), "cat/x": encoded(noise(), "GIF")}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (rejection.code, rejection.member) == ("unsupported_image", "cat/x")


def test_folders_without_images_are_named(tmp_path):
    empty = {"train/bird/": b"", "train/cow/": b"", "train/cow/list.txt": b"x", "val/cat/": b""}
    files = {**make_folder("train", "test"), **empty}
    report, _ = taken(zipped(tmp_path / "a.zip", files))
    assert report.classes == ("cat", "dog")
    assert report.source["left_out"] == [
        {"what": "folders without images", "count": 3, "names": ["train/bird", "train/cow", "val"]}
    ]


def test_a_completely_used_upload_leaves_nothing_out(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", make_folder("train", "test")), SPEC)
    assert report.source["left_out"] == []
    assert sum(len(load(target).splits[split]) for split in SPLITS) == 16
    assert np.all(load(target).labels < 2)
