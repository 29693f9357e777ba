"""A dataset moves only from the state it is in, and gets new values only if it moves."""

import pytest
from sqlalchemy import select

from heldout.lifecycle.resources import DatasetEvent, DatasetStatus, ImpossibleTransition, RejectionCode
from models.store.datasets import make_rejection, move_datasets, reject_ingested
from models.tables import DatasetRow, EventRow, JobRow
from tests.models.work import ALICE, add_dataset


def states(database) -> dict[str, str]:
    with database.read() as session:
        return {row.id: row.status.value for row in session.scalars(select(DatasetRow))}


def error_of(database, id_: str):
    with database.read() as session:
        return session.get_one(DatasetRow, id_).error


def test_only_the_given_datasets_in_the_expected_state_are_moved(database):
    meant, other = (add_dataset(database, name, ALICE, status="uploading") for name in "ab")
    ready = add_dataset(database, "c", ALICE, status="ready")
    with database.write() as session:
        which = DatasetRow.id.in_([meant, ready])
        moved = move_datasets(
            session, DatasetStatus.UPLOADING, DatasetEvent.RECEIVE, which, message="Received.", upload_key="uploads/x"
        )
    assert moved == [meant]
    assert states(database) == {meant: "checking", other: "uploading", ready: "ready"}
    with database.read() as session:
        reported = [(row.subject_id, row.type, row.message) for row in session.scalars(select(EventRow))]
        assert reported == [(meant, "dataset.checking", "Received.")]
        keys = {row.id: row.upload_key for row in session.scalars(select(DatasetRow))}
    assert keys == {meant: "uploads/x", other: None, ready: None}


def test_an_impossible_transition_changes_nothing(database):
    ready = add_dataset(database, "a", ALICE, status="ready")
    with pytest.raises(ImpossibleTransition), database.write() as session:
        move_datasets(session, DatasetStatus.READY, DatasetEvent.REJECT, DatasetRow.id == ready, message="No.")
    assert states(database) == {ready: "ready"}


def test_the_end_of_an_ingest_rejects_only_a_dataset_that_is_being_checked(database):
    checking, ready = (add_dataset(database, name, ALICE, status=name) for name in ("checking", "ready"))
    error = make_rejection(RejectionCode.BAD_LABELS, "Labels are missing.", "y.npy")
    with database.write() as session:
        reject_ingested(session, JobRow(dataset_id=checking), error)
        reject_ingested(session, JobRow(dataset_id=ready), error)
    assert states(database) == {checking: "rejected", ready: "ready"}
    assert error_of(database, checking) == {"code": "bad_labels", "detail": "Labels are missing.", "member": "y.npy"}
    assert error_of(database, ready) is None


def test_a_cancelled_ingest_needs_no_error(database):
    checking = add_dataset(database, "a", ALICE, status="checking")
    with database.write() as session:
        reject_ingested(session, JobRow(dataset_id=checking), None)
    assert error_of(database, checking) == {
        "code": "cancelled",
        "detail": "The ingest was cancelled.",
        "member": None,
    }
