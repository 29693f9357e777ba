"""Relations between images: clusters of copies, compared with SciPy, groups, and the search in a stored dataset."""

import io
import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.arrays.dataset import ImageSet, compute_split_digests, load, save
from analysis.arrays.relations import FILE_NAME, Relations, load_relations
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.process.test_process import until
from tests.worker.ingest.uploads import ALONE, MIB, encoded, pictures, taken, zipped
from worker.ingest.audit.copies import Copies, are_copies_in_place, build_relations
from worker.ingest.images.pixels import Pixels
from worker.ingest.parent import BoundedProcess
from worker.ingest.pipeline import relate
from worker.ingest.rejection import IngestLimits, Rejection

NO_PAIRS = np.empty((0, 2), np.int64)


def merge_sets(pairs: np.ndarray, count: int) -> list[int]:
    """Return the first image of the cluster of each image. pairs: (pairs, 2) images in the same cluster."""
    cluster_of = {image: {image} for image in range(count)}
    for first, second in pairs.tolist():
        joined = cluster_of[first] | cluster_of[second]
        cluster_of |= dict.fromkeys(joined, joined)
    return [min(cluster_of[image]) for image in range(count)]


# --- clusters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_clusters_are_the_connected_components_of_all_copies(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 200))
    contents = random.integers(0, int(random.integers(1, 2 * count)), count)  # equal numbers are equal pixels
    original = np.array([np.flatnonzero(contents == content)[0] for content in contents])
    unique = np.unique(original)
    near = np.sort(random.choice(unique, (int(random.integers(0, len(unique) + 1)), 2)), axis=1)
    near = np.unique(near[near[:, 0] < near[:, 1]], axis=0)
    found = build_relations(Copies(original, near, False, np.zeros(len(near), np.int8), NO_PAIRS), None)
    pairs = np.concatenate([np.stack([np.arange(count), original], axis=1), near])
    assert found.copy_of.tolist() == merge_sets(pairs, count)
    assert found.copy_of.dtype == np.int32


def test_the_ends_of_a_chain_are_in_the_same_cluster():
    """Images 0 and 1 are copies, and so are 1 and 2."""
    found = build_relations(
        Copies(np.arange(4), np.array([[0, 1], [1, 2]]), False, np.zeros(2, np.int8), NO_PAIRS), None
    )
    assert found.copy_of.tolist() == [0, 0, 0, 3]


def encode_as_jpeg(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(image[..., 0], "JPEG", quality=90))))[..., np.newaxis]


@pytest.fixture(scope="module")
def planted(mnist5k) -> tuple[ImageSet, list[int]]:
    """300 real digits with exact copies of ten, JPEG copies of ten others, and both kinds of copies of five.

    Returns them with the first image of the cluster of each image.
    """
    plain = mnist5k.images[np.random.default_rng(0).permutation(5000)[:300]]
    exact, coded, both = range(10), range(10, 20), range(5)
    images = [*plain, *plain[exact], *(encode_as_jpeg(plain[row]) for row in (*coded, *both))]
    first_of = [*range(300), *exact, *coded, *both]
    count = len(images)
    order = np.random.default_rng(1).permutation(count)  # copies may come before their originals
    shuffled = [first_of[row] for row in order]
    splits = {"train": np.arange(200), "validation": np.arange(200, 260), "test": np.arange(260, count)}
    found = ImageSet(np.stack(images)[order], np.zeros(count, np.int32), splits, ("0", "1"), (0, 255))
    return found, [shuffled.index(first) for first in shuffled]


@pytest.fixture
def content(planted, tmp_path) -> Path:
    folder = tmp_path / "content"
    folder.mkdir()
    save(planted[0], folder)
    return folder


def find_relations(content: Path, folder: Path, **rule: object) -> Relations:
    folder.mkdir()
    relate(content, folder, ALONE, **rule)
    return load_relations(folder / FILE_NAME)


def test_exactly_the_planted_copies_are_found_in_a_stored_dataset(planted, content, tmp_path):
    images, expected = planted
    found = find_relations(content, tmp_path / "found")
    assert found.copy_of.tolist() == expected
    assert found.group is None
    # Comparing all pairs gives the same.
    first, second = np.triu_indices(len(images.labels), 1)
    is_copy = np.concatenate(
        [
            are_copies_in_place(images.images[first[part]], images.images[second[part]])
            for part in np.array_split(range(len(first)), 50)
        ]
    )
    pairs = np.stack([first[is_copy], second[is_copy]], axis=1)
    assert found.copy_of.tolist() == merge_sets(pairs, len(images.labels))


def test_the_search_returns_the_digests_of_the_splits(planted, content, tmp_path):
    assert relate(content, tmp_path, ALONE) == compute_split_digests(planted[0])


def test_two_processes_find_the_same_as_one(content, tmp_path):
    alone = find_relations(content, tmp_path / "alone")
    relate(content, tmp_path, replace(ALONE, processes=2))
    assert np.array_equal(load_relations(tmp_path / FILE_NAME).copy_of, alone.copy_of)


def test_images_are_read_as_numpy_has_written_them(planted, content):
    pixels = Pixels.of(content / "images.npy")
    assert np.array_equal(pixels.read(0, pixels.count), planted[0].images)
    assert np.array_equal(pixels.take(np.array([7, 3])), planted[0].images[[7, 3]])


# --- an upload -----------------------------------------------------------------------------------

PATIENTS = DatasetSpec(name="pets", group_by=r"(p\d+)_")


@pytest.fixture
def upload(tmp_path) -> Path:
    """Pictures of a dozen patients, with two copies of one picture in another format."""
    files = {
        name.replace("/", f"/p{number % 12}_"): content for number, (name, content) in enumerate(pictures(20).items())
    }
    [first, *_] = files
    with Image.open(io.BytesIO(files[first])) as picture:
        files["cat/p0_again.bmp"] = encoded(picture, "BMP")
        files["dog/p3_again.bmp"] = encoded(picture, "BMP")
    return zipped(tmp_path / "pets.zip", files)


def test_an_ingest_stores_copies_and_groups(upload):
    _, target = taken(upload, PATIENTS)
    names = (target / "members.txt").read_text().splitlines()
    found = load_relations(target / FILE_NAME)
    pixels = [image.tobytes() for image in load(target).images]
    assert found.copy_of.tolist() == [pixels.index(pixel) for pixel in pixels]
    assert len(set(found.copy_of.tolist())) == len(names) - 2
    patients = [name.split("/")[1].split("_")[0] for name in names]
    for first, second in combinations(range(len(names)), 2):
        assert (found.group[first] == found.group[second]) == (patients[first] == patients[second])


def test_an_upload_without_a_rule_has_no_groups(upload):
    _, target = taken(upload)
    assert load_relations(target / FILE_NAME).group is None


def test_the_relations_of_an_ingest_are_found_again_in_its_files(upload, tmp_path):
    _, target = taken(upload, PATIENTS)
    first = load_relations(target / FILE_NAME)
    again = find_relations(target, tmp_path / "again", names=target / "members.txt", group_by=PATIENTS.group_by)
    assert np.array_equal(again.copy_of, first.copy_of)
    assert np.array_equal(again.group, first.group)


@pytest.mark.parametrize("change", ["no names", "one name too few", "names that the rule does not match"])
def test_copies_are_found_but_no_groups_if_names_and_rule_do_not_fit(upload, tmp_path, change):
    _, target = taken(upload, PATIENTS)
    names = tmp_path / "names.txt"
    lines = (target / "members.txt").read_text().splitlines(keepends=True)
    names.write_text("".join(lines[1:] if change == "one name too few" else ["unmatched\n"] * len(lines)))
    found = find_relations(
        target, tmp_path / "again", names=None if change == "no names" else names, group_by=PATIENTS.group_by
    )
    assert np.array_equal(found.copy_of, load_relations(target / FILE_NAME).copy_of)
    assert found.group is None


# --- in its own process ----------------------------------------------------------------------------


def start(content: Path, target: Path, limits: IngestLimits, **given: Any) -> BoundedProcess:
    """Start the process that finds the copies of a stored dataset."""
    inputs = {"content": content, "names": given.get("names")}
    return BoundedProcess("relate", {"group_by": given.get("group_by")}, inputs, target, limits)


def receive_last(process: BoundedProcess) -> dict[str, str]:
    with process:
        while (message := process.receive(60)) is None:
            pass
    assert isinstance(message, dict)
    return message


def test_a_separate_process_finds_the_same(planted, content, tmp_path):
    target = tmp_path / "found"
    answer = receive_last(start(content, target, IngestLimits()))
    assert answer == compute_split_digests(planted[0])
    assert load_relations(target / FILE_NAME).copy_of.tolist() == planted[1]


def test_the_process_gets_names_and_rule(upload, tmp_path):
    _, content = taken(upload, PATIENTS)
    target, names = tmp_path / "found", content / "members.txt"
    receive_last(start(content, target, IngestLimits(), names=names, group_by=PATIENTS.group_by))
    assert np.array_equal(load_relations(target / FILE_NAME).group, load_relations(content / FILE_NAME).group)


@pytest.fixture
def endless(tmp_path) -> Path:
    """A file of names that is never written, so reading it blocks."""
    os.mkfifo(tmp_path / "names")
    return tmp_path / "names"


def test_the_process_is_bounded_and_has_a_low_priority(content, endless, tmp_path):
    bounds = IngestLimits(memory_bytes=700 * MIB, wall_s=77)
    with start(content, tmp_path / "found", bounds, names=endless, group_by="(.)") as process:
        until(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    values = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert values["Max data size"] == str(700 * MIB)
    assert values["Max cpu time"] == "77"


def test_a_search_that_takes_too_long_is_ended_and_leaves_nothing(content, endless, tmp_path):
    with pytest.raises(Rejection) as caught:
        receive_last(start(content, tmp_path / "found", IngestLimits(wall_s=3), names=endless, group_by="(.)"))
    assert caught.value.code == "timed_out"
    assert list((tmp_path / "found").iterdir()) == []


def test_a_stored_dataset_that_is_damaged_leaves_nothing(content, tmp_path):
    (content / "labels.npy").write_bytes(b"nothing")
    with pytest.raises(Rejection, match="our side"):
        receive_last(start(content, tmp_path / "found", IngestLimits()))
    assert list((tmp_path / "found").iterdir()) == []
