"""Derived versions in the store: what is queued, their names and numbers, and how long the base is needed."""

import pytest
from sqlalchemy import select

from heldout.errors import DatasetNotFound, DatasetNotReady, InvalidSpec
from heldout.fixes.changes import VersionChanges, VersionSpec
from heldout.lifecycle.resources import DatasetStatus, RejectionCode
from heldout.spec.dataset import DatasetSpec
from heldout.work.kinds import DeriveSpec, IngestSpec, JobKind
from models.store import claims, discards, uploads, versions
from models.store.datasets import make_rejection
from models.tables import DatasetRow, JobRow
from tests.models.work import ALICE, BOB, Work, add_dataset

DROP = VersionSpec(drop_copies=True)


def derive(work: Work, reference: str, spec: VersionSpec = DROP, owner: str = ALICE) -> tuple[DatasetRow, JobRow]:
    with work.database.write() as session:
        row = versions.derive(session, owner, reference, spec, max_runtime_s=60)
        return row, session.scalars(select(JobRow).where(JobRow.dataset_id == row.id)).one()


def own(work: Work, name: str = "pets", **columns: object) -> DatasetRow:
    """Add a ready dataset of Alice's."""
    splits = {split: {"count": 2, "per_class": [1, 1]} for split in ("train", "validation", "test")}
    content = {"shape": [8, 8, 1], "classes": ["cat", "dog"], "splits": splits, "sha256": "1" * 64}
    with work.database.write() as session:
        row = session.get_one(DatasetRow, add_dataset(work.database, name, owner=ALICE))
        for column, value in (content | columns).items():
            setattr(row, column, value)
    return row


def test_a_derived_version_is_the_next_of_its_name_and_is_queued_at_once(work):
    base = own(work, description="Cats.", spec={"name": "pets", "group_by": "(p1)", "splits": {"test": 0.3}})
    row, job = derive(work, "pets")
    assert (row.owner, row.name, row.version, row.status) == (ALICE, "pets", 2, "checking")
    assert row.description == "Cats."
    of_base = {"id": base.id, "name": "pets", "version": 1}
    assert row.derived_from == {"dataset": of_base}
    with work.database.read() as session:
        assert session.get_one(DatasetRow, row.id).changes == {"drop_copies": True}
    claimed = work.claim()
    assert (claimed.held.job_id, claimed.dataset.id) == (job.id, row.id)
    assert isinstance(claimed.spec, DeriveSpec)
    assert (claimed.spec.base, claimed.spec.base_name) == (base.id, "pets@1")
    assert claimed.spec.changes == VersionChanges(drop_copies=True)
    assert (claimed.spec.dataset.group_by, claimed.spec.dataset.splits.existing) == ("(p1)", "keep")
    assert work.event_types(row.id) == ["dataset.checking"]


@pytest.mark.parametrize(
    ("resplit", "expected"),
    [(True, ("merge", 0.3, 0.1, 0)), ({"seed": 5, "validation": 0.2}, ("merge", 0.3, 0.2, 5))],
    ids=["as before", "otherwise"],
)
def test_new_splits_are_cut_as_in_the_upload_unless_the_changes_say_otherwise(work, resplit, expected):
    own(work, spec={"name": "pets", "splits": {"test": 0.3, "folders": {"fold1": "test"}}})
    row, _ = derive(work, "pets", VersionSpec.model_validate({"resplit": resplit}))
    splits = row.spec["splits"]
    assert tuple(splits[name] for name in ("existing", "test", "validation", "seed")) == expected


def test_a_version_of_a_bundled_dataset_is_the_owners_first_of_that_name(work):
    row, _ = derive(work, "dots")
    assert (row.owner, row.name, row.version) == (ALICE, "dots", 1)
    other, _ = derive(work, "dots", VersionSpec(drop_copies=True, name="spots"))
    assert (other.name, other.version) == ("spots", 1)


def test_only_ready_datasets_of_the_owner_can_be_fixed(work):
    base = own(work)
    with pytest.raises(DatasetNotFound):
        derive(work, base.id, owner=BOB)
    row, _ = derive(work, "pets")
    with pytest.raises(DatasetNotReady):
        derive(work, row.id)
    own(work, "gone", deleted_at=base.created_at)
    with pytest.raises(DatasetNotFound):
        derive(work, "gone")


def test_changes_that_do_not_fit_queue_nothing(work):
    with pytest.raises(InvalidSpec) as caught:
        derive(work, "dots", VersionSpec(exclude=(99,), relabel={"1": "neither"}))
    assert [error.pointer for error in caught.value.errors] == ["/exclude/0", "/relabel/1"]
    with work.database.read() as session:
        assert session.scalars(select(JobRow.id).where(JobRow.kind == JobKind.DERIVE)).all() == []


def test_a_deleted_version_is_kept_while_another_is_derived_from_it(work):
    base = own(work)
    row, _ = derive(work, "pets")
    with work.database.write() as session:
        discards.remove(session, ALICE, "pets@1")
        assert discards.is_still_needed(session, base.id)
        assert not discards.is_still_needed(session, work.dataset.id)
    held = work.claim().held
    with work.database.write() as session:
        claims.reject(session, held, make_rejection(RejectionCode.UNKNOWN_IMAGE, "There is none."))
    with work.database.write() as session:
        assert session.get_one(DatasetRow, row.id).status is DatasetStatus.REJECTED
        assert not discards.is_still_needed(session, base.id)


def announce(work: Work, adds_to: str) -> DatasetRow:
    with work.database.write() as session:
        return uploads.announce(session, ALICE, DatasetSpec(name="pets", adds_to=adds_to))


def test_a_version_is_kept_while_images_are_added_to_it(work):
    base = own(work)
    row = announce(work, "pets")
    assert row.derived_from == {"dataset": {"id": base.id, "name": "pets", "version": 1}}
    with work.database.write() as session:
        discards.remove(session, ALICE, "pets@1")
        assert discards.is_still_needed(session, base.id)
        uploads.receive(session, ALICE, row.id, key="uploads/x", sha256="2" * 64, max_runtime_s=60)
        assert discards.is_still_needed(session, base.id)
    claimed = work.claim()
    assert isinstance(claimed.spec, IngestSpec)
    assert (claimed.spec.base, claimed.spec.base_name, claimed.spec.base_sha256) == (base.id, "pets@1", "1" * 64)
    with work.database.write() as session:
        claims.reject(session, claimed.held, make_rejection(RejectionCode.NO_IMAGES, "There are none."))
        assert not discards.is_still_needed(session, base.id)


def test_images_are_added_only_to_a_ready_version(work):
    own(work)
    announce(work, "pets@1")
    for adds_to in ("none", "pets@2"):
        with pytest.raises(InvalidSpec, match=r"is not there|is uploading") as caught:
            announce(work, adds_to)
        assert [error.pointer for error in caught.value.errors] == ["/adds_to"]


def test_a_version_derived_from_a_version_with_added_images_adds_nothing(work):
    own(work, spec={"name": "pets", "adds_to": "pets@1"})
    row, _ = derive(work, "pets")
    assert row.spec["adds_to"] is None
