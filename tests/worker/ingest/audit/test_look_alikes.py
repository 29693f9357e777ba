"""Images with different labels are copies only if they differ in nothing but encoding and scaling."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.worker.ingest.audit.test_copies import find_findings, make_dataset, make_splits, scan_dataset
from worker.ingest.audit.copies import Copies, find_copies
from worker.ingest.pool import ProcessPool

SIDE = 64


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """40 tiles of photos that do not overlap: (40, SIDE, SIDE, 3)."""
    found = []
    for image in load_sample_images().images:
        for top in range(0, 384, SIDE):
            for left in range(0, 576, SIDE):
                tile = image[top : top + SIDE, left : left + SIDE]
                if tile.std() > 35:
                    found.append(tile)
    return np.stack(found[:40])


def change(image: np.ndarray, how: str) -> np.ndarray:
    picture = Image.fromarray(image)
    width, height = picture.size
    match how:
        case "recompressed":
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=75)
            picture = Image.open(file)
        case "scaled":
            picture = picture.resize((48, 48), Image.Resampling.BILINEAR).resize((width, height))
        case "cropped":
            picture = picture.crop((3, 3, width - 3, height - 3)).resize((width, height), Image.Resampling.BILINEAR)
        case "darker":
            picture = picture.point(lambda value: value * 0.8)
        case "another shade in one place":
            marked = image.astype(np.int16)
            marked[24:32, 24:32] += np.where(marked[24:32, 24:32] > 128, -30, 30)
            return marked.astype(np.uint8)
        case "a faint dot":
            marked = image.astype(np.int16)
            marked[30:34, 30:34] += np.where(marked[30:34, 30:34] > 128, -20, 20)
            return marked.clip(0, 255).astype(np.uint8)
    return np.asarray(picture)


def search(folder, images: np.ndarray, labels: np.ndarray, different=()) -> Copies:
    dataset = make_dataset(folder, images, labels)
    dataset = type(dataset)(**{**dataset.__dict__, "different": np.array(different, np.int64).reshape(-1, 2)})
    return find_copies(dataset, scan_dataset(dataset), ProcessPool(1))


def add_changed(tiles: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the tiles with label 0, followed by the change tiles with label 1."""
    images = np.concatenate([tiles, np.stack([change(tile, how) for tile in tiles])])
    return images, np.repeat([0, 1], len(tiles))


def list_pairs(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


@pytest.mark.parametrize("how", ["recompressed", "scaled", "cropped"])
def test_copies_with_another_label_are_still_copies(tmp_path, tiles, how):
    images, labels = add_changed(tiles, how)
    wanted = {(row, row + len(tiles)) for row in range(len(tiles))}
    (tmp_path / "same").mkdir()
    same_label = list_pairs(search(tmp_path / "same", images, np.zeros(len(images))).near) & wanted
    found = search(tmp_path, images, labels)
    assert len(list_pairs(found.near) & same_label) >= 0.95 * len(same_label)
    assert len(same_label) >= 0.8 * len(wanted)


@pytest.mark.parametrize("how", ["darker", "another shade in one place", "a faint dot"])
def test_another_shade_is_a_look_alike_if_the_labels_differ_and_a_copy_if_they_do_not(tmp_path, tiles, how):
    images, labels = add_changed(tiles, how)
    wanted = {(row, row + len(tiles)) for row in range(len(tiles))}
    (tmp_path / "same").mkdir()
    same_label = search(tmp_path / "same", images, np.zeros(len(images)))
    copies = list_pairs(same_label.near) & wanted
    found = search(tmp_path, images, labels)
    assert len(copies) >= 10
    assert len(same_label.look_alikes) == 0
    assert copies <= list_pairs(found.look_alikes)
    assert not list_pairs(found.near) & wanted


def test_pairs_marked_as_different_are_neither_copies_nor_look_alikes(tmp_path, tiles):
    images, labels = add_changed(tiles, "darker")
    images[79], labels[79] = change(tiles[39], "recompressed"), 0
    before = search(tmp_path, images, labels)
    alike, copy = before.look_alikes[0].tolist(), [39, 79]
    assert copy in before.near.tolist()
    # The order of a pair does not matter.
    after = search(tmp_path, images, labels, different=[alike[::-1], copy])
    assert list_pairs(after.look_alikes) == list_pairs(before.look_alikes) - {tuple(alike)}
    assert list_pairs(after.near) == list_pairs(before.near) - {(39, 79)}


def test_look_alikes_are_only_a_question(tmp_path, tiles):
    images, labels = add_changed(tiles[:20], "darker")
    found = find_findings(tmp_path, images, labels, make_splits(25, 5, 10))
    assert set(found) == {"look_alikes"}
    question = found["look_alikes"]
    assert question.severity == "info"
    count = len(question.pairs)
    assert question.numbers["pairs"] == count
    assert question.numbers["images"] == 2 * count
    assert sum(question.numbers[split] for split in ("train", "validation", "test")) == 2 * count
    assert question.explanation.startswith(f"{count} pairs of images with different labels look alike. They may be")
    assert question.what_to_do.startswith('Can you tell these apart? If so, answer "They are different"')
    assert f"leave them out: {2 * count} images (" in question.what_to_do


def test_identical_pixels_with_two_labels_are_a_conflict(tmp_path, tiles):
    images = np.concatenate([tiles[:20], tiles[:1]])
    labels = np.append(np.zeros(20), 1)
    found = find_findings(tmp_path, images, labels, make_splits(15, 3, 3))
    assert "One picture has two labels; no network gets both right." in found["label_conflicts"].explanation
    assert "look_alikes" not in found
