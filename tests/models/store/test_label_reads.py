"""The ledger counts each look at held-out labels once, by owner, labels, subject and epoch. Checked by raw SQL."""

import pytest
from sqlalchemy import text, update

from analysis.jobs.ledger import SplitReads
from heldout.errors import LeaseLost
from heldout.lifecycle.job import StopReason
from heldout.spec.job import JobSpec
from models.database import Database
from models.store import claims, jobs, label_reads
from models.store.claims import HeldAttempt, Result
from models.tables import DatasetRow
from tests.models.work import ALICE, BOB, Work, artifacts_of, final_of

FIGURES = {"validation_loss": 0.5, "validation_accuracy": 0.75}
WITH_TEST = FIGURES | {"test_loss": 0.6, "test_accuracy": 0.7}
EVERY_EPOCH = {"evaluation": {"test": "every_epoch"}}
EARLY = {"training": {"seed": 1, "early_stopping": {"monitor": "validation_loss", "patience": 3}}}


def stored(database: Database) -> list[tuple]:
    """List owner, split, subject, epoch and kind of each row, in the order of their keys."""
    query = "SELECT owner, split, subject_id, epoch, what FROM label_reads ORDER BY owner, subject_id, split, epoch"
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def measured(work: Work) -> list[tuple[str, int]]:
    return [(split, epoch) for _, split, _, epoch, _ in stored(work.database)]


def finish(work: Work, held: HeldAttempt, epoch: int, *, test: bool = True, **other) -> None:
    """Let the job succeed with the weights of that epoch."""
    with work.database.write() as session:
        done = Result(final=final_of(epoch, with_test=test), artifacts=artifacts_of(held), **other)
        claims.succeed(session, held, result=done, stop_reason=StopReason.COMPLETED)


def totals(work: Work, owner: str = ALICE, dataset: DatasetRow | None = None) -> dict[str, SplitReads]:
    with work.database.read() as session:
        return label_reads.count_totals(session, owner, session.merge(dataset or work.dataset, load=False))


def give_digests(work: Work, dataset_id: str, **digests: str) -> None:
    """Fill in the splits' digests, and then those of the reads, as the worker does."""
    with work.database.write() as session:
        row = session.get_one(DatasetRow, dataset_id)
        row.splits = {name: part | {"sha256": digests.get(name)} for name, part in row.splits.items()}
        session.flush()
        label_reads.give_digests(session, row)


def copy_of_dataset(work: Work, name: str = "more dots", **changes) -> DatasetRow:
    """Add another version, whose splits have as many images."""
    with work.database.read() as session:
        dataset = session.merge(work.dataset, load=False)
        columns = {column.name: getattr(dataset, column.name) for column in DatasetRow.__table__.columns}
    copy = DatasetRow(
        **columns | {"id": f"ds_{name:0>26}".replace(" ", "0"), "name": name, "sha256": "1" * 64} | changes
    )
    with work.database.write() as session:
        session.add(copy)
    return copy


def test_each_epoch_reads_validation_once_and_the_end_reads_test_once(work):
    held = work.running()
    for epoch in (1, 2, 3):
        work.epoch(held, epoch, **FIGURES)
    finish(work, held, 3)
    assert stored(work.database) == [
        (ALICE, "test", held.job_id, 3, "measured"),
        (ALICE, "validation", held.job_id, 1, "measured"),
        (ALICE, "validation", held.job_id, 2, "measured"),
        (ALICE, "validation", held.job_id, 3, "measured"),
    ]


def test_measuring_test_every_epoch_counts_each_epoch_and_nothing_more_at_the_end(work):
    held = work.running(**EVERY_EPOCH)
    for epoch in (1, 2, 3):
        work.epoch(held, epoch, **WITH_TEST)
    before = stored(work.database)
    finish(work, held, 2)
    assert stored(work.database) == before
    assert measured(work) == [(split, epoch) for split in ("test", "validation") for epoch in (1, 2, 3)]


def test_a_job_that_never_measures_test_reads_none_of_it(work):
    held = work.running(evaluation={"test": "never"})
    work.epoch(held, 1, **FIGURES)
    finish(work, held, 1, test=False)
    assert measured(work) == [("validation", 1)]


def test_other_weights_that_are_measured_on_test_at_the_end_also_count(work):
    held = work.running()
    for epoch in (1, 2):
        work.epoch(held, epoch, **FIGURES)
    finish(work, held, 1, other_reads=(("test", 2),))
    assert [look for look in measured(work) if look[0] == "test"] == [("test", 1), ("test", 2)]


def test_a_second_attempt_adds_nothing_for_epochs_that_were_measured(work):
    held = work.running()
    work.begin(held)
    for epoch in (1, 2):
        work.epoch(held, epoch, **FIGURES)
    before = stored(work.database)
    again = work.claimed_again(held)
    work.begin(again)
    for epoch in (1, 2):
        assert work.epoch(again, epoch, **FIGURES)
    assert stored(work.database) == before
    work.epoch(again, 3, **FIGURES)
    assert measured(work) == [("validation", 1), ("validation", 2), ("validation", 3)]


def test_an_epoch_of_an_attempt_that_lost_its_job_is_not_counted(work):
    held = work.running()
    work.claimed_again(held)
    with pytest.raises(LeaseLost):
        work.epoch(held, 1, **FIGURES)
    assert stored(work.database) == []


def test_a_result_that_is_stored_twice_counts_once(work):
    held = work.running()
    for _ in range(2):
        finish(work, held, 1)
    assert measured(work) == [("test", 1), ("validation", 1)]


def test_a_result_after_a_cancel_is_not_counted(work):
    held = work.running()
    work.epoch(held, 1, **FIGURES)
    work.cancel(held.job_id)
    finish(work, held, 1)
    assert measured(work) == [("validation", 1)]


def test_validation_counts_as_a_selection_if_its_figure_can_decide_something(work):
    for training, what in (
        ({}, "measured"),
        ({"on_overfit": "warn"}, "measured"),
        ({"schedule": {"name": "cosine"}}, "measured"),
        ({"on_overfit": "stop"}, "selected"),
        ({"on_overfit": "stop_and_restore"}, "selected"),
        ({"early_stopping": {"monitor": "validation_accuracy", "patience": 2}}, "selected"),
        ({"schedule": {"name": "reduce_on_plateau"}}, "selected"),
    ):
        held = work.running(training={"seed": 1, **training}, **EVERY_EPOCH)
        work.epoch(held, 1, **WITH_TEST)
        reads = [(split, kind) for _, split, job, _, kind in stored(work.database) if job == held.job_id]
        assert reads == [("test", "measured"), ("validation", what)], training


def test_totals_agree_with_the_rows(work):
    first = work.running(**EARLY)
    for epoch in (1, 2):
        work.epoch(first, epoch, **FIGURES)
    finish(work, first, 1)
    second = work.running()
    work.epoch(second, 1, **FIGURES)
    finish(work, second, 1)
    assert totals(work) == {
        "validation": SplitReads(reads=3, selections=2, handed_out=0, jobs=2),
        "test": SplitReads(reads=2, selections=0, handed_out=0, jobs=2),
    }


def test_looks_of_owners_are_counted_separately(work):
    for owner, epochs in ((ALICE, 2), (BOB, 1)):
        job_id = work.submit(owner)
        held = work.claim().held
        assert held.job_id == job_id
        for epoch in range(1, epochs + 1):
            work.epoch(held, epoch, **FIGURES)
    assert totals(work, ALICE)["validation"] == SplitReads(reads=2, jobs=1)
    assert totals(work, BOB)["validation"] == SplitReads(reads=1, jobs=1)
    assert totals(work, "carol")["validation"] == SplitReads()
    with work.database.read() as session:
        rows, more = label_reads.list_page(session, BOB, work.dataset, after=None, limit=20)
    assert [(row.owner, row.epoch) for row in rows] == [(BOB, 1)]
    assert not more


def test_deleting_a_job_keeps_what_it_has_read(work):
    held = work.running()
    work.epoch(held, 1, **FIGURES)
    finish(work, held, 1)
    before = stored(work.database)
    with work.database.write() as session:
        jobs.remove(session, ALICE, held.job_id)
    assert stored(work.database) == before
    assert len(before) == 2


def test_versions_with_the_same_test_images_share_only_the_count_of_test(work):
    other = copy_of_dataset(work)
    give_digests(work, work.dataset.id, validation="a" * 64, test="c" * 64)
    give_digests(work, other.id, validation="b" * 64, test="c" * 64)
    for dataset in (work.dataset, other):
        held = work.running(dataset=dataset)
        work.epoch(held, 1, **FIGURES)
        finish(work, held, 1)
    with work.database.read() as session:
        rows = [session.get_one(DatasetRow, dataset.id) for dataset in (work.dataset, other)]
    for row in rows:
        counted = totals(work, dataset=row)
        assert (counted["validation"].reads, counted["test"].reads, counted["test"].jobs) == (1, 2, 2)


def test_other_content_without_digests_is_counted_separately(work):
    work.forget_digests()
    other = copy_of_dataset(work)
    held = work.running()
    work.epoch(held, 1, **FIGURES)
    assert totals(work)["validation"].reads == 1
    assert totals(work, dataset=other)["validation"].reads == 0


def test_reads_from_before_a_split_had_its_digest_are_counted_under_it_once(work):
    work.forget_digests()
    held = work.running()
    work.epoch(held, 1, **FIGURES)
    give_digests(work, work.dataset.id, validation="a" * 64, test="c" * 64)
    finish(work, held, 1)
    assert measured(work) == [("test", 1), ("validation", 1)]
    other = copy_of_dataset(work)
    give_digests(work, other.id, validation="a" * 64, test="d" * 64)
    with work.database.read() as session:
        counted = totals(work, dataset=session.get_one(DatasetRow, other.id))
    assert (counted["validation"].reads, counted["test"].reads) == (1, 0)


def test_a_read_under_both_names_of_a_split_is_merged(work):
    work.forget_digests()
    held = work.running()
    work.epoch(held, 1, **FIGURES)
    work.epoch(held, 2, **FIGURES)
    with work.database.write() as session:
        digest = "UPDATE label_reads SET digest = :digest WHERE epoch = 1"
        session.execute(text(digest), {"digest": "a" * 64})
        label_reads.add_for_job(session, held.job_id, "validation", 1)
    give_digests(work, work.dataset.id, validation="a" * 64, test="c" * 64)
    assert measured(work) == [("validation", 1), ("validation", 2)]


def test_a_job_continues_after_its_dataset_has_lost_its_address(work):
    held = work.running()
    with work.database.write() as session:
        session.execute(update(DatasetRow).values(sha256=None, splits=None))
    assert work.epoch(held, 1, **FIGURES)
    assert measured(work) == [("validation", 1)]


def test_labels_that_are_shown_count_once_for_each_split(work):
    for _ in range(2):
        with work.database.write() as session:
            label_reads.add_handed_out(session, ALICE, work.dataset)
    assert stored(work.database) == [
        (ALICE, split, work.dataset.id, 0, "handed_out") for split in ("test", "validation")
    ]
    assert totals(work)["test"] == SplitReads(reads=1, handed_out=1)
    with work.database.read() as session:
        assert label_reads.is_handed_out(session, ALICE, work.dataset)
        assert not label_reads.is_handed_out(session, BOB, work.dataset)


def test_looks_are_paged_newest_first(work):
    held = work.running(**EVERY_EPOCH)
    for epoch in (1, 2, 3):
        work.epoch(held, epoch, **WITH_TEST)
    found, after, more, pages = [], None, True, 0
    with work.database.read() as session:
        newest_first = session.execute(text("SELECT id FROM label_reads ORDER BY id DESC")).scalars().all()
        while more and pages < 10:
            rows, more = label_reads.list_page(session, ALICE, work.dataset, after=after, limit=2)
            found += [row.id for row in rows]
            after, pages = rows[-1].id, pages + 1
    assert (found, pages) == (newest_first, 3)
    assert len(found) == 6


def test_a_folds_validation_images_are_counted_separately_from_the_datasets_split(work):
    folds = {"validation": {"folds": 5, "fold": 3}}
    for digest in ("a", "a", "b"):  # two jobs with one cut, and one with another
        held = work.running(**folds)
        with work.database.write() as session:
            spec = work.row(held.job_id).spec
            digests = {"validation": digest * 64}
            claims.record_start(
                session, held, engine={}, spec=JobSpec.model_validate(spec), start_epoch=0, split_digests=digests
            )
        work.epoch(held, 1, **FIGURES)
        finish(work, held, 1)
    plain = work.running()
    work.epoch(plain, 1, **FIGURES)
    counted = totals(work)
    assert (counted["validation"].reads, counted["test"].reads) == (1, 3), "all share the test split"
    with work.database.read() as session:
        dataset = session.merge(work.dataset, load=False)
        assert label_reads.count_fold_reads(session, ALICE, dataset) == 3
        assert label_reads.count_fold_reads(session, BOB, dataset) == 0
        rows, more = label_reads.list_page(session, ALICE, dataset, after=None, limit=5)
        rest, _ = label_reads.list_page(session, ALICE, dataset, after=rows[-1].id, limit=5)
    assert more
    seen = [(row.split, row.fold, row.digest[:2]) for row in (*rows, *rest) if row.split == "validation"]
    own = work.dataset.splits["validation"]["sha256"][:2]
    assert sorted(seen, key=str) == sorted(
        [("validation", None, own), ("validation", 3, "aa"), ("validation", 3, "aa"), ("validation", 3, "bb")], key=str
    )
