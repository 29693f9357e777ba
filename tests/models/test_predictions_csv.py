"""Predictions as a table: the content of each line, and no text that a spreadsheet would take for a formula."""

import csv
import io

import numpy as np
import pytest

from heldout.errors import ArtifactDamaged
from models.blobs import Blobs
from models.predictions import VALUES_AT_ONCE, iterate_csv

CLASSES = ["cat", "=dog", "-1", 'a "b", c']
FILES = ["cat/1.png", "=cmd|'/c calc'!A1", "+x.png", "@y.png", 'ä,"ö".png']


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def stored(blobs: Blobs, tmp_path, count: int = 5, **more) -> dict:
    draws = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        chances = draws.dirichlet(np.ones(4), count).astype(np.float32)
        arrays |= {
            f"{split}_indices": np.arange(count) * 2,
            f"{split}_labels": np.arange(count, dtype=np.int32) % 4,
            f"{split}_probabilities": chances,
        }
    np.savez(tmp_path / "predictions.npz", **arrays, **more)
    blobs.put("p", tmp_path / "predictions.npz")
    return arrays


def table(blobs: Blobs) -> list[dict]:
    content = b"".join(iterate_csv(blobs, "p", CLASSES)).decode()
    assert "\r" not in content
    return list(csv.DictReader(io.StringIO(content), strict=True))


def test_each_image_has_a_line_with_its_figures(blobs, tmp_path):
    count = 2 * VALUES_AT_ONCE + 3
    arrays = stored(blobs, tmp_path, count, classes=np.array(CLASSES))
    rows = table(blobs)
    heads = ["split", "index", "file", "label", "answer", "correct", "probability"]
    assert list(rows[0]) == [*heads, "p_cat", "p_=dog", "p_-1", 'p_a "b", c']
    assert [row["split"] for row in rows] == ["train"] * count + ["test"] * count
    for split in ("train", "test"):
        of_split = [row for row in rows if row["split"] == split]
        chances = np.array([[row[f"p_{name}"] for name in CLASSES] for row in of_split], np.float32)
        np.testing.assert_array_equal(chances, arrays[f"{split}_probabilities"])
        np.testing.assert_array_equal([int(row["index"]) for row in of_split], arrays[f"{split}_indices"])
        answers, labels = chances.argmax(axis=1), arrays[f"{split}_labels"]
        shown = ["cat", "'=dog", "-1", 'a "b", c']  # a number is not a formula
        assert [row["label"] for row in of_split] == [shown[label] for label in labels]
        assert [row["answer"] for row in of_split] == [shown[answer] for answer in answers]
        assert [row["correct"] for row in of_split] == [str(bool(same)).lower() for same in answers == labels]
        np.testing.assert_array_equal([np.float32(row["probability"]) for row in of_split], chances.max(axis=1))
        assert {row["file"] for row in of_split} == {""}


def test_file_names_are_harmless_in_a_spreadsheet(blobs, tmp_path):
    stored(blobs, tmp_path, test_files=np.array(FILES), train_files=np.array(FILES))
    shown = ["cat/1.png", "'=cmd|'/c calc'!A1", "'+x.png", "'@y.png", 'ä,"ö".png']
    assert [row["file"] for row in table(blobs)] == 2 * shown


def test_a_file_of_an_earlier_release_gets_the_datasets_classes_and_no_names(blobs, tmp_path):
    stored(blobs, tmp_path)
    rows = table(blobs)
    assert rows[0]["label"] == "cat"
    assert list(rows[0])[-4:] == [f"p_{name}" for name in CLASSES]


@pytest.mark.parametrize("damage", [lambda whole: whole[:200], lambda whole: b"numpy", lambda whole: b""])
def test_a_damaged_file_is_reported_before_anything_is_sent(blobs, tmp_path, damage):
    stored(blobs, tmp_path)
    blobs.put("p", damage((tmp_path / "predictions.npz").read_bytes()))
    with pytest.raises(ArtifactDamaged):
        next(iterate_csv(blobs, "p", CLASSES))


def test_a_large_file_is_read_while_it_is_sent(blobs, tmp_path, monkeypatch):
    stored(blobs, tmp_path, 60_000)
    read: list[int] = []
    read_range = Blobs.read_range
    monkeypatch.setattr(
        Blobs, "read_range", lambda self, key, first, end: read.append(end - first) or read_range(self, key, first, end)
    )
    chunks = iterate_csv(blobs, "p", CLASSES)
    next(chunks), next(chunks)
    size = (tmp_path / "predictions.npz").stat().st_size
    assert sum(read) < size / 2
    for _ in chunks:
        pass
    assert sum(read) < 3 * size
