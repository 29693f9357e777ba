"""Tables next to images: labels, splits and columns by file; and what is refused or listed."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.arrays.dataset import load
from analysis.arrays.relations import FILE_NAME, load_relations
from heldout.fixes.changes import VersionChanges
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.uploads import ALONE, SPEC, encoded, noise, pictures, rejection_of, taken, zipped
from worker.ingest.pipeline import derive
from worker.ingest.rejection import Rejection
from worker.ingest.sources.stored import read_base

COUNT = 60


def make_flat(count: int = COUNT) -> dict[str, bytes]:
    return {f"images/{number:03d}.png": encoded(noise((12, 10), number)) for number in range(count)}


def make_rows(count: int = COUNT) -> list[dict[str, Any]]:
    """Every third image is a dog; a patient has two images, and a camera many."""
    return [
        {
            "file_name": f"images/{number:03d}.png",
            "label": "dog" if number % 3 == 0 else "cat",
            "split": ("test", "val", "train", "train", "train")[number // 2 % 5],
            "patient": f"p{number // 2}",
            "camera": "A" if number < 40 else "B",
        }
        for number in range(count)
    ]


def to_csv(rows, **options) -> bytes:
    return pd.DataFrame(rows).to_csv(index=False, **options).encode()


def to_parquet(rows) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(rows).to_parquet(file)
    return file.getvalue()


def to_coco(rows, **more) -> bytes:
    names = sorted({row["label"] for row in rows})
    found = {
        "categories": [{"id": 7 + place, "name": name} for place, name in enumerate(names)],
        "images": [{"id": number, "file_name": row["file_name"]} for number, row in enumerate(rows)],
        "annotations": [
            {"image_id": number, "category_id": 7 + names.index(row["label"])} for number, row in enumerate(rows)
        ],
    }
    return json.dumps({**found, **more}).encode()


def read_columns(target):
    return json.loads((target / "columns.json").read_text())


def check_labels(target):
    images, names = load(target), (target / "members.txt").read_text().splitlines()
    said = {row["file_name"]: row["label"] for row in make_rows()}
    assert [images.classes[label] for label in images.labels] == [said[name] for name in names]
    return images, names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", to_csv(make_rows())),
        ("metadata.csv", to_csv(make_rows(), sep=";")),
        ("metadata.tsv", to_csv(make_rows(), sep="\t")),
        ("metadata.csv", "\ufeff".encode() + to_csv(make_rows())),
        ("metadata.csv", to_csv(make_rows()).replace(b",", b", ")),
        ("metadata.csv", to_csv([{**row, "note": "two\nlines; and, more"} for row in make_rows()])),
        ("metadata.parquet", to_parquet(make_rows())),
        ("annotations/instances.json", to_coco(make_rows())),
    ],
)
def test_labels_come_from_a_table_beside_the_images(tmp_path, name, content):
    report, target = taken(zipped(tmp_path / "a.zip", {**make_flat(), name: content}), SPEC)
    check_labels(target)
    assert any("Labels are those of the table" in note for note in report.source["notes"])


def test_splits_and_columns_come_from_the_table_and_stay_with_the_version(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": to_csv(make_rows())}), SPEC)
    images, names = check_labels(target)
    said = {row["file_name"]: row for row in make_rows()}
    for split, word in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert {said[names[row]]["split"] for row in images.splits[split]} == {word}
    columns = read_columns(target)
    assert columns == {key: [said[name][key] for name in names] for key in ("patient", "camera")}
    assert report.source["columns"] == ["patient", "camera"]


def test_a_derived_version_keeps_columns_and_can_add_and_change_them(tmp_path):
    report, target = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": to_csv(make_rows())}), SPEC)
    names, columns = (target / "members.txt").read_text().splitlines(), read_columns(target)
    base = read_base(target, target / "members.txt", "pets@1", report.sha256, columns=target / "columns.json")
    values = {"columns": {"day": {names[1]: 7, "2": "8"}, "camera": {names[1]: "C", "3": None}}}

    changes = VersionChanges.model_validate({**values, "exclude": [names[0]]})
    made = derive(base, SPEC, changes, tmp_path / "derived", ALONE)
    camera = ["C", columns["camera"][2], None, *columns["camera"][4:]]
    expected = {"patient": columns["patient"][1:], "camera": camera, "day": ["7", "8", *[None] * (COUNT - 3)]}
    assert read_columns(tmp_path / "derived") == expected
    audited = json.loads((tmp_path / "derived" / "audit.json").read_text())
    assert "2 columns added or changed; 1 image that was named left out" in audited["source"]["changes"]["summary"]
    assert made.sha256 != report.sha256

    # Columns alone make a version of the same images; columns that change nothing make none.
    changed = derive(base, SPEC, VersionChanges.model_validate(values), tmp_path / "same", ALONE)
    assert changed.sha256 == report.sha256
    nothing = VersionChanges.model_validate({"columns": {"camera": {"1": columns["camera"][1]}}})
    with pytest.raises(Rejection, match="stays as it is"):
        derive(base, SPEC, nothing, tmp_path / "nothing", ALONE)
    unknown = VersionChanges.model_validate({"columns": {"camera": {"lost.png": "A"}}})
    with pytest.raises(Rejection, match=r"no image called 'lost\.png'"):
        derive(base, SPEC, unknown, tmp_path / "unknown", ALONE)


def test_images_are_found_by_their_name_alone_and_tables_of_several_folders_are_joined(tmp_path):
    rows = make_rows()
    files = {**make_flat(), "labels.csv": to_csv([{**row, "file_name": row["file_name"][7:]} for row in rows])}
    check_labels(taken(zipped(tmp_path / "a.zip", files), SPEC)[1])
    parts = {"train": rows[:40], "test": rows[40:]}
    moved = {
        f"{split}/{row['file_name'][7:]}": make_flat()[row["file_name"]] for split in parts for row in parts[split]
    }
    for split, of_split in parts.items():
        table = [{"file_name": row["file_name"][7:], "label": row["label"]} for row in of_split]
        moved[f"{split}/metadata.csv"] = to_csv(table)
    _, target = taken(zipped(tmp_path / "b.zip", moved), DatasetSpec(name="pets"))
    assert len(load(target).splits["test"]) == 20


def test_what_is_missing_on_either_side_is_listed(tmp_path):
    rows = [*make_rows()[:-2], {**make_rows()[0], "file_name": "images/lost.png"}]
    rows[5] = {**rows[5], "label": None}
    report, _ = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": to_csv(rows)}), SPEC)
    assert {left["what"]: left["names"] for left in report.source["left_out"]} == {
        "images without a row in 'labels.csv'": ["images/058.png", "images/059.png"],
        "images without a label in 'labels.csv'": ["images/005.png"],
        "rows of 'labels.csv' without an image": ["images/lost.png"],
    }


def test_class_folders_that_disagree_with_the_table_are_refused_with_both_listed(tmp_path):
    files = pictures()
    rows = [{"file": name, "label": name.partition("/")[0]} for name in files]
    rows[0]["label"] = "dog"
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**files, "labels.csv": to_csv(rows)}), SPEC)
    assert rejection.code == "bad_table"
    assert "disagree on 1 of 20 images: 'cat/000.png' is in 'cat', the table says 'dog'" in rejection.detail
    rows[0]["label"] = "cat"
    taken(zipped(tmp_path / "b.zip", {**files, "labels.csv": to_csv(rows)}), SPEC)


def test_columns_alone_leave_the_labels_to_the_folders(tmp_path):
    files = pictures()
    rows = [{"file": name, "day": f"d{number % 4}"} for number, name in enumerate(files)][:-1]
    report, target = taken(zipped(tmp_path / "a.zip", {**files, "metadata.csv": to_csv(rows)}), SPEC)
    assert load(target).classes == ("cat", "dog")
    assert read_columns(target)["day"].count(None) == 1
    [left_out] = report.source["left_out"]
    assert left_out == {
        "what": "columns of images without a row in 'metadata.csv'",
        "count": 1,
        "names": [[*files][-1]],
    }


def test_rows_are_found_by_the_end_of_their_path_if_the_images_lie_deeper(tmp_path):
    files = pictures()
    rows = [{"file": name, "label": name.partition("/")[0], "day": name} for name in files]
    moved = {f"set/images/{name}": content for name, content in files.items()}
    _, target = taken(zipped(tmp_path / "a.zip", {**moved, "tables/labels.csv": to_csv(rows)}), SPEC)
    names = (target / "members.txt").read_text().splitlines()
    assert [f"set/images/{day}" for day in read_columns(target)["day"]] == names


def test_classification_folders_of_yolo_are_read_and_its_description_is_passed_over(tmp_path):
    files = {f"{split}/{name}": content for split in ("train", "val") for name, content in pictures(4).items()}
    report, target = taken(zipped(tmp_path / "a.zip", {**files, "data.yaml": b"names: [cat, dog]"}), SPEC)
    assert len(load(target).splits["validation"]) == 8
    assert report.source["splits"]["validation"] == "upload"
    assert report.source["passed_over"]["names"] == ["data.yaml"]


def test_a_table_without_files_is_passed_over_with_the_reason(tmp_path):
    report, _ = taken(zipped(tmp_path / "a.zip", {**pictures(), "labels.csv": b"id,label\n1,cat\n"}), SPEC)
    assert report.source["passed_over"]["names"] == ["labels.csv"]
    assert report.source["notes"] == [
        "The table 'labels.csv' is not read: it has 'id', 'label', but no column `file` or `file_name`."
    ]


@pytest.mark.parametrize(
    ("name", "content", "left_out"),
    [
        ("labels.csv", pd.DataFrame(make_rows()).to_csv().encode(), ["labels.csv, column 1"]),
        ("labels.csv", to_csv([{**row, "Unnamed: 0": 3} for row in make_rows()]), ["labels.csv, column 6"]),
        ("labels.csv", to_csv(make_rows()).replace(b"\n", b",,\n"), ["labels.csv, column 6", "labels.csv, column 7"]),
        (
            "labels.parquet",
            to_parquet(pd.DataFrame(make_rows(), index=[f"i{n}" for n in range(COUNT)])),
            ["labels.parquet, column 6"],
        ),
    ],
)
def test_columns_without_a_name_are_left_out_and_listed(tmp_path, name, content, left_out):
    report, target = taken(zipped(tmp_path / "a.zip", {**make_flat(), name: content}), SPEC)
    check_labels(target)
    assert report.source["columns"] == ["patient", "camera"]
    assert report.source["left_out"] == [
        {"what": "columns without a name", "count": len(left_out), "names": left_out},
    ]


def test_names_of_columns_are_read_without_spaces_and_line_breaks_around_words(tmp_path):
    table = to_csv([{**row, " taken \n on ": 1} for row in make_rows()])
    report, _ = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": table}), SPEC)
    assert report.source["columns"] == ["patient", "camera", "taken on"]


def make_parquet_with_doubled_names() -> bytes:
    rows = pd.DataFrame(make_rows())
    table = pa.Table.from_arrays([pa.array(rows[key]) for key in rows], ["file", "label", "split", "day", "day"])
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (make_parquet_with_doubled_names(), "has several columns called 'day'. Rename"),
        (to_parquet([{**row, "pa\0tient": 1} for row in make_rows()]), r"in a column's name, 'pa\x00tient'"),
    ],
)
def test_parquet_with_names_that_make_no_sense_is_refused(tmp_path, table, why):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**make_flat(), "labels.parquet": table}), SPEC)
    assert rejection.code == "bad_table"
    assert why in rejection.detail


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (to_csv([{"file": "x.png", "label": "cat"}]), "has no row for any image. Its files are called as 'x.png'"),
        (to_csv([{"file": "x.png", "patient": "p1"}]), "has no row for any image"),
        (to_csv([*make_rows(), make_rows()[0]]), "has two rows for 'images/000.png'"),
        (to_csv([{**make_rows()[0], "split": "holdout"}]), "names the split 'holdout'"),
        (b"file,label\nimages/000.png\n", "has another number of values in line 2"),
        (b"file,label\n", "has no rows"),
        (b"file,label\n\xff\xfe,cat\n", "is not UTF-8"),
        (to_csv(make_rows()).decode().encode("utf-16-le"), "is not UTF-8"),
        (b'file,label,day\nimages/000.png,cat,1\nimages/001.png,"dog\nimages/002.png,c\n,', "the row in lines 3 to 5"),
        (b"file,label,day,day,day\nimages/000.png,cat,1,2,3\n", "several columns called 'day'. Rename"),
        (b"file,label,file\nimages/000.png,cat,x\n", "several columns called 'file'"),
        (to_csv([{**make_rows()[0], "x" * 65: 1}]), f"has 65 characters, '{'x' * 65}'; at most 64"),
        (to_csv([{**make_rows()[0], **{f"c{n}": n for n in range(60)}}]), "at most 50 are kept"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, table, why):
    rejection = rejection_of(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": table}), SPEC)
    assert rejection.code == "bad_table"
    assert why in rejection.detail


def test_coco_with_several_labels_an_image_is_refused_with_counts(tmp_path):
    found = json.loads(to_coco(make_rows()))
    found["annotations"] += [{"image_id": number, "category_id": category} for number in (0, 1) for category in (7, 8)]
    files = {**make_flat(), "instances_train.json": json.dumps(found).encode()}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files), SPEC)
    assert "gives 2 of 60 images several labels, such as 'images/000.png': cat, dog" in rejection.detail


def test_images_of_one_value_of_a_column_stay_in_one_split(tmp_path):
    rows = [{key: value for key, value in row.items() if key != "split"} for row in make_rows()]
    spec = DatasetSpec.model_validate({"name": "pets", "group_by": {"column": "patient"}})
    report, target = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": to_csv(rows)}), spec)
    columns, images = read_columns(target), load(target)
    split_of = {row: split for split, positions in images.splits.items() for row in positions.tolist()}
    by_patient: dict[str, set[str]] = {}
    for row, patient in enumerate(columns["patient"]):
        by_patient.setdefault(patient, set()).add(split_of[row])
    assert all(len(splits) == 1 for splits in by_patient.values())
    assert report.source["groups"] == 30
    groups = load_relations(target / FILE_NAME).group
    assert len(np.unique(groups)) == 30
    assert not [finding for finding in report.findings if finding.code == "column_across_splits"]


def test_a_column_to_group_by_must_be_there_for_each_image(tmp_path):
    rows = [{**row, "patient": row["patient"] if row["camera"] == "A" else None} for row in make_rows()]
    files = {**make_flat(), "labels.csv": to_csv(rows)}
    for column, why in (("site", "the columns are 'patient', 'camera'"), ("patient", "20 of 60 images have no value")):
        spec = DatasetSpec.model_validate({"name": "pets", "group_by": {"column": column}})
        rejection = rejection_of(zipped(tmp_path / f"{column}.zip", files), spec)
        assert rejection.code == "group_unmatched"
        assert why in rejection.detail


def test_the_audit_says_which_column_leaks_across_splits(tmp_path):
    rows = make_rows()
    for number, row in enumerate(rows):
        row["split"] = "test" if number % 2 and number % 4 == 1 else "val" if number % 10 == 0 else "train"
        row["age"] = number // 2  # its values are in several splits, too
    report, _ = taken(zipped(tmp_path / "a.zip", {**make_flat(), "labels.csv": to_csv(rows)}), SPEC)
    [finding] = [finding for finding in report.findings if finding.code == "column_across_splits"]
    assert finding.numbers["column"] == "patient"  # a camera has too many images to be one
    assert finding.numbers["values"] == 30
    in_train = {row["patient"] for row in rows if row["split"] == "train"}
    assert finding.numbers["test_images"] == sum(row["split"] == "test" and row["patient"] in in_train for row in rows)
    assert '`group_by: {"column": "patient"}`' in finding.what_to_do
