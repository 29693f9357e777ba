"""Folders are splits or classes as their owner means them, or the upload is refused; no image is lost silently."""

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, load
from heldout.spec.dataset import DatasetSpec, SplitSpec
from tests.worker.ingest.uploads import SPEC, encoded, noise, rejection_of, taken, tarred, zipped


def folder(*names: str, classes=("cat", "dog"), each: int = 4) -> dict[str, bytes]:
    """In each folder of `names` some images of each class, all different."""
    return {
        f"{name}/{label}/{number}.png": picture(f"{name}/{label}/{number}")
        for name in names
        for label in classes
        for number in range(each)
    }


def flat(*names: str, each: int = 4) -> dict[str, bytes]:
    return {f"{name}/{number}.png": picture(f"{name}/{number}") for name in names for number in range(each)}


def picture(text: str) -> bytes:
    return encoded(noise(seed=int.from_bytes(text.encode()) % 2**32))


def spec(**folders: str) -> DatasetSpec:
    return DatasetSpec(name="pets", splits=SplitSpec(folders=folders))


def names_by_split(target) -> dict[str, set[str]]:
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
def test_well_known_names_of_splits_are_understood(tmp_path, train, test):
    report, target = taken(zipped(tmp_path / "a.zip", folder(train, test)))
    assert report.classes == ("cat", "dog")
    splits = names_by_split(target)
    assert splits["test"] == set(folder(test))
    assert splits["train"] | splits["validation"] == set(folder(train))


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "validation_set"])
def test_validation_has_many_names(tmp_path, name):
    _, target = taken(zipped(tmp_path / "a.zip", folder("train", name, "testing")))
    assert names_by_split(target) == {
        "train": set(folder("train")),
        "validation": set(folder(name)),
        "test": set(folder("testing")),
    }


@pytest.mark.parametrize(
    ("stray", "member"),
    [
        (flat("samples"), "samples"),
        (folder("samples"), "samples"),
        (folder("fold0", "fold1", "fold2", "fold3", "fold4"), "fold0"),
        (folder("extra_unlabeled"), "extra_unlabeled"),
    ],
    ids=["pictures", "classes", "folds", "unlabelled with classes"],
)
@pytest.mark.parametrize("splits", [("train", "test"), ("train",), ("seg_train", "seg_test")])
def test_an_unknown_folder_next_to_splits_is_refused_with_what_to_say(tmp_path, stray, member, splits):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**folder(*splits), **stray}))
    assert (rejection.code, rejection.member) == ("unexpected_layout", member)
    assert repr(splits[0]) in rejection.detail
    assert f"`--folder {member}=ignore`" in rejection.detail


def test_what_the_spec_says_of_a_folder_is_done(tmp_path):
    files = {**folder("train", "test"), **flat("samples")}
    report, target = taken(zipped(tmp_path / "a.zip", files), spec(samples="ignore"))
    assert set().union(*names_by_split(target).values()) == set(folder("train", "test"))
    [left_out] = report.source["left_out"]
    assert "'samples'" in left_out["what"]
    assert (left_out["count"], left_out["names"]) == (4, sorted(flat("samples")))


def test_folds_are_splits_once_the_spec_says_which(tmp_path):
    files = folder("fold0", "fold1", "fold2")
    refused = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (refused.code, refused.member) == ("unexpected_layout", "fold0")
    _, target = taken(zipped(tmp_path / "b.zip", files), spec(fold0="train", fold1="train", fold2="test"))
    splits = names_by_split(target)
    assert splits["train"] | splits["validation"] == set(folder("fold0", "fold1"))
    assert splits["test"] == set(folder("fold2"))


def test_a_folder_that_is_not_there_cannot_be_spoken_of(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", folder("train", "test")), spec(fold9="test"))
    assert (rejection.code, rejection.member) == ("unexpected_layout", "fold9")
    assert "'test' and 'train'" in rejection.detail


@pytest.mark.parametrize("name", ["seg_pred", "seg_pred/seg_pred", "unlabeled", "unlabelled/images"])
def test_images_without_labels_are_left_out_and_counted(tmp_path, name):
    report, target = taken(zipped(tmp_path / "a.zip", {**folder("seg_train", "seg_test"), **flat(name)}))
    assert set().union(*names_by_split(target).values()) == set(folder("seg_train", "seg_test"))
    [left_out] = report.source["left_out"]
    assert left_out["what"].startswith("images without labels")
    assert left_out["count"] == 4


def test_a_split_without_class_folders_is_refused_and_can_be_left_out(tmp_path):
    files = {**folder("train"), **flat("test")}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (rejection.code, rejection.member) == ("unexpected_layout", "test/0.png")
    assert "`--folder test=ignore`" in rejection.detail
    report, _ = taken(zipped(tmp_path / "b.zip", files), spec(test="ignore"))
    assert report.classes == ("cat", "dog")


@pytest.mark.parametrize("inside", ["test/test", "test/images", "test/test/test"])
def test_a_folder_that_says_the_split_again_is_no_class(tmp_path, inside):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**folder("train"), **flat(inside)}))
    assert (rejection.code, rejection.member) == ("unexpected_layout", f"{inside}/0.png")


def test_images_without_labels_are_left_out_next_to_classes_too(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", flat("cat", "dog", "unlabeled", each=10)))
    assert (report.classes, report.source["left_out"][0]["count"]) == (("cat", "dog"), 10)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (flat("train", "test"), "8 images lie in the splits 'test' and 'train' and in no class folder"),
        (flat("trainA", "trainB", "testA", "testB"), "both names of the train split"),
        (folder("set1", "set2"), "look like parts of one dataset"),
        ({**folder("my"), "my/preview.png": picture("x")}, "'my/preview.png' is in no class folder"),
        ({"1.png": picture("1"), "2.png": picture("2"), "labels.csv": b"file,label"}, "The table 'labels.csv' may say"),
        ({**flat("images"), "labels.xlsx": b"x"}, "The table 'labels.xlsx' may say"),
        ({**flat("train/images"), "train/labels/0.txt": b"0 1 1 1 1"}, "'train/labels/0.txt' looks like boxes"),
        ({**flat("images"), "annotations/all.json": b"{}"}, "'annotations/all.json' looks like boxes"),
    ],
)
def test_a_refusal_says_the_real_cause(tmp_path, files, said):
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert rejection.code in ("unexpected_layout", "too_few_classes")
    assert said in rejection.detail


def test_folders_inside_of_classes_are_spoken_of(tmp_path):
    files = {**folder("pets"), **flat("overview")}
    report, _ = taken(zipped(tmp_path / "a.zip", files))
    assert report.classes == ("overview", "pets")
    [note] = report.source["notes"]
    assert "'pets' has 2, such as 'cat', 'dog'" in note


def test_two_names_of_one_split_are_refused(tmp_path):
    rejection = rejection_of(zipped(tmp_path / "a.zip", folder("train", "val", "dev", "test")))
    assert rejection.code == "unexpected_layout"
    assert "'dev' and 'val'" in rejection.detail


def test_a_train_among_other_vehicles_is_a_class(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", flat("train", "car", "plane", each=10)))
    assert report.classes == ("car", "plane", "train")


def test_a_class_may_have_the_name_of_a_split_once_that_is_reported(tmp_path):
    files = flat("test", "control", each=10)
    assert rejection_of(zipped(tmp_path / "a.zip", files)).code == "unexpected_layout"
    report, _ = taken(zipped(tmp_path / "b.zip", files), spec(test="class"))
    assert report.classes == ("control", "test")


def test_boards_are_no_splits(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", flat("dev_board", "test_board", "oven", each=10)))
    assert report.classes == ("dev_board", "oven", "test_board")


# --- splits inside of classes --------------------------------------------------------------------


def test_splits_inside_of_classes_are_kept(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", folder("cat", "dog", classes=("train", "test"))))
    assert report.classes == ("cat", "dog")
    assert names_by_split(target)["test"] == set(folder("cat", "dog", classes=("test",)))
    assert report.source["splits"]["test"] == "upload"


@pytest.mark.parametrize(
    "files",
    [
        folder("set1/train", "set1/test", "set2/train", "set2/test"),
        {**folder("cat", "dog", classes=("train", "test")), **folder("dog", classes=("more",))},
    ],
    ids=["several datasets", "some images in no split"],
)
def test_splits_that_lie_elsewhere_are_refused(tmp_path, files):
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert rejection.code == "unexpected_layout"
    assert "Put the splits on top" in rejection.detail


# --- no image is lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".1", ".png.1", ".dat"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_image_is_known_by_its_content_whatever_its_name_says(tmp_path, ending, pack):
    files = {name.removesuffix(".png") + ending: data for name, data in flat("cat", "dog", each=10).items()}
    files |= {"cat/notes": b"BM is not enough", "dog/list.csv": b"a,b"}
    report, _ = taken(pack(tmp_path / "a", files))
    assert report.source["images"] == 20
    assert report.source["passed_over"] == {"count": 2, "names": ["cat/notes", "dog/list.csv"]}


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "BMP"])
def test_every_format_is_known_by_its_content(tmp_path, format_):
    files = {f"{name}/{n}": encoded(noise((12, 10, 3), n), format_) for n, name in enumerate(["cat", "dog"] * 8)}
    assert taken(zipped(tmp_path / "a.zip", files))[0].source["images"] == 16


def test_an_image_of_a_format_that_is_not_read_is_refused_without_an_extension_too(tmp_path):
    files = {**flat("cat", "dog", each=10), "cat/x": encoded(noise(), "GIF")}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert (rejection.code, rejection.member) == ("unsupported_image", "cat/x")


def test_folders_without_images_are_named(tmp_path):
    empty = {"train/bird/": b"", "train/cow/": b"", "train/cow/list.txt": b"x", "val/cat/": b""}
    files = {**folder("train", "test"), **empty}
    report, _ = taken(zipped(tmp_path / "a.zip", files))
    assert report.classes == ("cat", "dog")
    assert report.source["left_out"] == [
        {"what": "folders without images", "count": 3, "names": ["train/bird", "train/cow", "val"]}
    ]


def test_an_upload_of_which_all_is_taken_leaves_nothing_out(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", folder("train", "test")), SPEC)
    assert report.source["left_out"] == []
    assert sum(len(load(target).splits[split]) for split in SPLITS) == 16
    assert np.all(load(target).labels < 2)
