"""Images with different labels are one picture only if nothing but encoding and scaling sets them apart."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.worker.ingest.audit.test_copies import dataset_of, findings, scanned, three
from worker.ingest.audit.copies import Copies, find_copies
from worker.ingest.pool import ProcessPool

SIDE = 64


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """40 tiles of photographs that do not overlap; (40, SIDE, SIDE, 3)."""
    found = []
    for image in load_sample_images().images:
        for top in range(0, 384, SIDE):
            for left in range(0, 576, SIDE):
                tile = image[top : top + SIDE, left : left + SIDE]
                if tile.std() > 35:
                    found.append(tile)
    return np.stack(found[:40])


def changed(image: np.ndarray, how: str) -> np.ndarray:
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
    return np.asarray(picture)


def searched(folder, images: np.ndarray, labels: np.ndarray, different=()) -> Copies:
    dataset = dataset_of(folder, images, labels)
    dataset = type(dataset)(**{**dataset.__dict__, "different": np.array(different, np.int64).reshape(-1, 2)})
    return find_copies(dataset, scanned(dataset), ProcessPool(1))


def beside(tiles: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The tiles with label 0, then each of them changed with label 1."""
    images = np.concatenate([tiles, np.stack([changed(tile, how) for tile in tiles])])
    return images, np.repeat([0, 1], len(tiles))


def pairs_of(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


@pytest.mark.parametrize("how", ["recompressed", "scaled", "cropped"])
def test_true_copies_with_another_label_stay_copies(tmp_path, tiles, how):
    images, labels = beside(tiles, how)
    wanted = {(row, row + len(tiles)) for row in range(len(tiles))}
    (tmp_path / "same").mkdir()
    same_label = pairs_of(searched(tmp_path / "same", images, np.zeros(len(images))).near) & wanted
    found = searched(tmp_path, images, labels)
    assert len(pairs_of(found.near) & same_label) >= 0.95 * len(same_label)
    assert len(same_label) >= 0.8 * len(wanted)


@pytest.mark.parametrize("how", ["darker", "another shade in one place"])
def test_another_shade_is_a_look_alike_under_another_label_and_a_copy_under_the_same(tmp_path, tiles, how):
    images, labels = beside(tiles, how)
    wanted = {(row, row + len(tiles)) for row in range(len(tiles))}
    (tmp_path / "same").mkdir()
    same_label = searched(tmp_path / "same", images, np.zeros(len(images)))
    copies = pairs_of(same_label.near) & wanted
    found = searched(tmp_path, images, labels)
    assert len(copies) >= 10
    assert len(same_label.look_alikes) == 0
    assert copies <= pairs_of(found.look_alikes)
    assert not pairs_of(found.near) & wanted


def test_pairs_that_were_distinguished_are_neither_copies_nor_look_alikes(tmp_path, tiles):
    images, labels = beside(tiles, "darker")
    images[79], labels[79] = changed(tiles[39], "recompressed"), 0
    before = searched(tmp_path, images, labels)
    alike, copy = before.look_alikes[0].tolist(), [39, 79]
    assert copy in before.near.tolist()
    # The order of a pair does not matter.
    after = searched(tmp_path, images, labels, different=[alike[::-1], copy])
    assert pairs_of(after.look_alikes) == pairs_of(before.look_alikes) - {tuple(alike)}
    assert pairs_of(after.near) == pairs_of(before.near) - {(39, 79)}


def test_look_alikes_are_asked_about_and_blamed_for_nothing(tmp_path, tiles):
    images, labels = beside(tiles[:20], "darker")
    found = findings(tmp_path, images, labels, three(25, 5, 10))
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


def test_identical_pixels_with_two_labels_are_one_picture(tmp_path, tiles):
    images = np.concatenate([tiles[:20], tiles[:1]])
    labels = np.append(np.zeros(20), 1)
    found = findings(tmp_path, images, labels, three(15, 3, 3))
    assert "One picture has two labels; no network gets both right." in found["label_conflicts"].explanation
    assert "look_alikes" not in found
