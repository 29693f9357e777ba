"""Which dataset a reference names, and the versions of bundled ones."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from analysis.arrays.dataset import ImageSet, compute_content_address, compute_split_digests
from models.database import Database, db_now
from models.ids import make_id
from models.store import datasets
from models.tables import DatasetRow
from tests.models.work import ALICE, BOB, add_dataset, dots


def find(database: Database, owner: str, reference: str) -> str | None:
    with database.read() as session:
        row = datasets.find(session, owner, reference)
    return row and row.id


def add_bundled(database: Database, name: str, images: ImageSet) -> None:
    with database.write() as session:
        datasets.add_bundled(session, make_id("ds"), name, images, compute_content_address(images), 123)


def brighter() -> ImageSet:
    images = dots()
    return ImageSet(images.images + 1, images.labels, images.splits, images.classes, images.value_range)


def test_a_name_means_its_newest_ready_version(database):
    ids = {
        version: add_dataset(database, "pets", ALICE, version, status)
        for version, status in ((1, "ready"), (2, "ready"), (10, "checking"), (11, "rejected"))
    }
    assert find(database, ALICE, "pets") == ids[2]
    assert find(database, ALICE, "pets@1") == ids[1]
    assert find(database, ALICE, "pets@10") == ids[10]
    assert find(database, ALICE, ids[11]) == ids[11]


def test_if_no_version_is_ready_the_newest_is_found(database):
    add_dataset(database, "pets", ALICE, 1, "rejected")
    newest = add_dataset(database, "pets", ALICE, 2, "uploading")
    assert find(database, ALICE, "pets") == newest


def test_an_owners_dataset_takes_precedence_over_a_bundled_one(database):
    bundled = add_dataset(database, "mnist", None, 5)
    assert find(database, ALICE, "mnist") == bundled
    mine = add_dataset(database, "mnist", ALICE, 1)
    assert find(database, ALICE, "mnist") == mine
    assert find(database, BOB, "mnist") == bundled
    assert find(database, ALICE, "mnist@5") == bundled
    assert find(database, ALICE, "mnist@1") == mine
    assert find(database, ALICE, bundled) == bundled


def test_a_bundled_dataset_is_found_until_the_owners_is_ready(database):
    bundled = add_dataset(database, "mnist", None)
    mine = add_dataset(database, "mnist", ALICE, status="uploading")
    assert find(database, ALICE, "mnist") == bundled
    assert find(database, ALICE, "mnist@1") == mine


def test_no_one_finds_the_dataset_of_another_owner(database):
    theirs = add_dataset(database, "pets", BOB)
    for reference in ("pets", "pets@1", theirs):
        assert find(database, ALICE, reference) is None
        assert find(database, BOB, reference) == theirs


def test_an_unknown_or_malformed_reference_finds_nothing(database):
    add_dataset(database, "pets", ALICE)
    malformed = ["", "@", "@1", "pets@", "pets@0", "pets@-1", "pets@1.0", "pets@one", "pets@1@1", "pets@+1", "pets@ 1"]
    malformed += ["pets@٣", "pets@99999999999999999999", "pets%", "ds_", "ds_" + "é" * 26]
    for reference in (*malformed, "pets@2", "pet", "Pets", "ds_" + "0" * 26):
        assert find(database, ALICE, reference) is None, reference


def test_pages_list_what_the_owner_sees_newest_first(database):
    add_dataset(database, "theirs", BOB)
    ids = sorted(
        [add_dataset(database, f"set{number}", [ALICE, None][number % 2]) for number in range(5)], reverse=True
    )
    checking = add_dataset(database, "late", ALICE, status="checking")
    found: list[str] = []
    after, more = None, True
    while more:
        with database.read() as session:
            page = datasets.list_page(session, ALICE, after=after, limit=2, status="ready")
            assert [row.id for row in datasets.get_listed(session, page)] == page
        found += page[:2]
        after, more = found[-1], len(page) > 2
    assert found == ids
    with database.read() as session:
        assert datasets.list_page(session, ALICE, after=None, limit=50, status="checking") == [checking]
        assert len(datasets.list_page(session, ALICE, after=None, limit=50)) == 6


def test_a_rejected_version_is_listed_while_it_is_the_newest_of_its_name(database):
    alone = add_dataset(database, "alone", ALICE, status="rejected")
    first, second = (add_dataset(database, "pets", ALICE, version, "rejected") for version in (1, 2))
    ready, last = add_dataset(database, "pets", ALICE, 3), add_dataset(database, "pets", ALICE, 4, "rejected")
    add_dataset(database, "alone", BOB, 2)

    def listed(**status: str) -> list[str]:
        """List all pages of two datasets."""
        found: list[str] = []
        more = True
        while more:
            with database.read() as session:
                page = datasets.list_page(session, ALICE, after=found[-1] if found else None, limit=2, **status)
            found += page[:2]
            more = len(page) > 2
        return sorted(found)

    assert listed() == sorted([alone, ready, last])
    assert listed(status="rejected") == sorted([alone, first, second, last])
    with database.write() as session:
        for version in (ready, last):
            session.get(DatasetRow, version).deleted_at = db_now()
    assert listed() == sorted([alone, second])


def test_a_bundled_dataset_is_described_by_its_images(database):
    add_bundled(database, "dots", dots())
    with database.read() as session:
        row = datasets.find(session, ALICE, "dots")
    assert (row.owner, row.version, row.status, row.sha256) == (None, 1, "ready", compute_content_address(dots()))
    assert (row.shape, row.dtype, row.value_range, row.classes) == ([4, 4, 1], "uint8", [0, 255], ["even", "odd"])
    digests = compute_split_digests(dots())
    assert row.splits == {
        name: {"count": 2, "per_class": [1, 1], "sha256": digests[name]} for name in ("train", "validation", "test")
    }


def test_only_new_content_makes_a_new_version(database):
    for images in (dots(), dots(), brighter(), brighter(), dots()):
        add_bundled(database, "dots", images)
    with database.read() as session:
        rows = datasets.get_listed(session, datasets.list_page(session, ALICE, after=None, limit=50))
        [newest] = datasets.list_bundled(session)
    assert sorted(row.version for row in rows) == [1, 2]
    assert newest.version == 2
    assert find(database, ALICE, "dots") == newest.id


def test_the_newest_of_each_bundled_name_is_listed(database):
    add_dataset(database, "mine", ALICE)
    add_bundled(database, "a", dots())
    add_bundled(database, "b", dots())
    add_bundled(database, "b", brighter())
    with database.read() as session:
        assert {(row.name, row.version) for row in datasets.list_bundled(session)} == {("a", 1), ("b", 2)}


def test_processes_that_start_at_once_add_a_bundled_dataset_once(database):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: add_bundled(database, "dots", dots()), range(6)))
    with database.read() as session:
        listed = datasets.get_listed(session, datasets.list_page(session, ALICE, after=None, limit=50))
        assert [row.version for row in listed] == [1]


def test_described_splits_count_each_class_even_an_absent_one():
    images = dots()
    uneven = ImageSet(
        images.images,
        images.labels,
        {"train": np.array([0, 2, 4]), "validation": np.array([1]), "test": np.array([], np.int64)},
        ("even", "odd", "neither"),
        (0, 255),
    )
    digests = compute_split_digests(uneven)
    assert datasets.describe_splits(uneven) == {
        "train": {"count": 3, "per_class": [3, 0, 0], "sha256": digests["train"]},
        "validation": {"count": 1, "per_class": [0, 1, 0], "sha256": digests["validation"]},
        "test": {"count": 0, "per_class": [0, 0, 0], "sha256": digests["test"]},
    }
