"""The ledger: who used which held-out labels. Rows are only added, and duplicates are ignored.

A split is identified by the SHA-256 of its images and labels, so that versions of a dataset with the same test images
share a count. Before a dataset has such a digest, its content address and the split's name stand in for it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from sqlalchemy import (
    ColumnElement,
    Insert,
    Integer,
    Table,
    bindparam,
    case,
    delete,
    distinct,
    exists,
    func,
    literal,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session, aliased

from analysis.jobs.ledger import HELD_OUT, NO_EPOCH, ReadKind, SplitReads, find_training_job
from models.database import db_now
from models.ids import make_id
from models.store.statements import INSERT_OF, select_page, upsert
from models.tables import DatasetRow, JobRow, LabelReadRow

# How many ancestors of a version are followed.
MAX_ANCESTORS = 50

_TABLE = cast(Table, LabelReadRow.__table__)
_COLUMNS = [column.name for column in _TABLE.columns]


def _insert_for_job(dialect: str, split: str) -> Insert:
    """Build the insert of a job's read of a split. Owner and digest come from the rows of the job and its dataset."""
    stand_in = func.coalesce(DatasetRow.sha256, DatasetRow.id) + f":{split}"
    values = {
        "id": bindparam("read_id"),
        "owner": JobRow.owner,
        "digest": func.coalesce(
            JobRow.split_digests[split].as_string(), DatasetRow.splits[split]["sha256"].as_string(), stand_in
        ),
        "subject_object": literal("job"),
        "subject_id": bindparam("subject_id", type_=_TABLE.c.subject_id.type),
        "epoch": bindparam("epoch", type_=Integer),
        "split": literal(split),
        "fold": JobRow.spec[("validation", "fold")].as_integer() if split == "validation" else null(),
        "what": bindparam("what", type_=_TABLE.c.what.type),
        "dataset_id": DatasetRow.id,
        "created_at": db_now(),
    }
    of_job = select(*(values[name] for name in _COLUMNS)).join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
    of_job = of_job.where(JobRow.id == bindparam("job_id"))
    return cast(Insert, INSERT_OF[dialect](_TABLE).from_select(_COLUMNS, of_job).on_conflict_do_nothing())


# Built once, because each epoch of each training executes one of them.
_FOR_JOB = {
    (dialect, split): _insert_for_job(dialect, split) for dialect in INSERT_OF for split in HELD_OUT
}  # fmt: skip


def add_for_job(session: Session, job_id: str, split: str, epoch: int, what: ReadKind = ReadKind.MEASURED) -> None:
    """Note that a job's weights were measured on a split's labels, in the transaction that stores the figures.

    Weights from a continued job count as that job's, so they count once.

    Args:
        epoch: the epoch of the weights, from 1.
    """
    statement = _FOR_JOB[session.get_bind().dialect.name, split]
    trained_by = find_training_job(
        job_id, session.scalar(select(JobRow.continues).where(JobRow.id == job_id)) or (), epoch
    )
    values = {"read_id": make_id("read"), "job_id": job_id, "subject_id": trained_by, "epoch": epoch, "what": what}
    session.execute(statement, values)


def is_counted_for_job(session: Session, job_id: str, split: str, epoch: int) -> bool:
    """Return whether these weights were measured on that split before, so that `add_for_job` would add nothing."""
    trained_by = find_training_job(
        job_id, session.scalar(select(JobRow.continues).where(JobRow.id == job_id)) or (), epoch
    )
    same = (LabelReadRow.subject_id == trained_by, LabelReadRow.split == split, LabelReadRow.epoch == epoch)
    return session.scalar(select(exists().where(*same))) or False


def list_held_out_splits(dataset: DatasetRow) -> list[str]:
    """List the splits of a ready dataset whose labels training does not see."""
    return [split for split in HELD_OUT if (dataset.splits or {}).get(split, {}).get("count")]


def is_handed_out(session: Session, owner: str, dataset: DatasetRow) -> bool:
    """Return whether the ledger already notes that the owner was shown held-out labels of the dataset."""
    splits = list_held_out_splits(dataset)
    digests = {_get_digest(dataset, split) for split in splits}
    noted = select(func.count()).where(
        LabelReadRow.owner == owner,
        LabelReadRow.digest.in_(digests),
        LabelReadRow.subject_id == dataset.id,
        LabelReadRow.epoch == NO_EPOCH,
    )
    return session.scalar(noted) == len(digests)


def add_handed_out(session: Session, owner: str, dataset: DatasetRow) -> None:
    """Note that the owner is shown held-out labels of the dataset."""
    about = {"subject_object": "dataset", "subject_id": dataset.id, "what": ReadKind.HANDED_OUT}
    _add_without_weights(session, owner, dataset, list_held_out_splits(dataset), about)


def add_for_model(session: Session, owner: str, model_id: str, dataset_id: str, splits: Sequence[str]) -> None:
    """Note that an uploaded model was measured on held-out splits. Measuring it again adds nothing."""
    about = {"subject_object": "model", "subject_id": model_id, "what": ReadKind.MEASURED}
    _add_without_weights(session, owner, session.get_one(DatasetRow, dataset_id), splits, about)


def _add_without_weights(
    session: Session, owner: str, dataset: DatasetRow, splits: Sequence[str], about: Mapping[str, str]
) -> None:
    shared = {"owner": owner, "epoch": NO_EPOCH, "dataset_id": dataset.id, **about}
    rows = [
        {"id": make_id("read"), "digest": _get_digest(dataset, split), "split": split, **shared} for split in splits
    ]
    if rows:
        insert = upsert(session, _TABLE)
        session.execute(insert.values(created_at=db_now()).on_conflict_do_nothing(), rows)


def add_for_experiment(session: Session, owner: str, job_id: str, dataset: DatasetRow) -> None:
    """Note that an experiment of a job's proof trains on test labels, before it does. Once for each job and test."""
    about = {"subject_object": "job", "subject_id": job_id, "what": ReadKind.EXPERIMENT}
    _add_without_weights(session, owner, dataset, ["test"], about)


def count_totals(session: Session, owner: str, dataset: DatasetRow) -> dict[str, SplitReads]:
    """Count the owner's looks at the labels of each held-out split, in one statement."""
    is_selection = case((LabelReadRow.what == ReadKind.SELECTED, 1))
    is_hand_out = case((LabelReadRow.what == ReadKind.HANDED_OUT, 1))
    is_experiment = case((LabelReadRow.what == ReadKind.EXPERIMENT, 1))
    job, model = (
        func.count(distinct(case((LabelReadRow.subject_object == subject, LabelReadRow.subject_id))))
        for subject in ("job", "model")
    )
    counts = (func.count(), func.count(is_selection), func.count(is_hand_out), job, model, func.count(is_experiment))
    parts = [
        select(literal(split), *counts).where(
            LabelReadRow.owner == owner, LabelReadRow.digest.in_(_list_digests(dataset, split))
        )
        for split in HELD_OUT
    ]
    return {split: SplitReads(*found) for split, *found in session.execute(union_all(*parts))}


def count_earlier_reads(session: Session, owner: str, dataset: DatasetRow) -> dict[str, int]:
    """Count the owner's looks at each held-out split of the versions that this one was made from.

    Looks that already count for this version, because the split is unchanged, are excluded. After a resplit, earlier
    held-out images may be in either split, so looks at both splits count for each.
    """
    of_split: dict[str, set[str]] = {split: set() for split in HELD_OUT}
    version, was_resplit = dataset, False
    for _ in range(MAX_ANCESTORS):
        was_resplit |= bool((version.changes or {}).get("resplit"))
        source = (version.derived_from or {}).get("dataset")
        before = None if source is None else session.get(DatasetRow, source["id"])
        if before is None:
            break
        version = before
        for split in HELD_OUT:
            of_split[split] |= {
                digest for name in (HELD_OUT if was_resplit else (split,)) for digest in _list_digests(version, name)
            }
    counts = {}
    for split, digests in of_split.items():
        others = digests - _list_digests(dataset, split)
        is_earlier = (LabelReadRow.owner == owner, LabelReadRow.digest.in_(others))
        counts[split] = session.scalar(select(func.count()).where(*is_earlier)) or 0 if others else 0
    return counts


def count_fold_reads(session: Session, owner: str, dataset: DatasetRow) -> int:
    """Count the looks of the owner's jobs with folds at their own validation images."""
    return session.scalar(select(func.count()).where(*_match_folds(owner, dataset))) or 0


def list_page(
    session: Session, owner: str, dataset: DatasetRow, *, after: str | None, limit: int
) -> tuple[Sequence[LabelReadRow], bool]:
    """List the owner's looks at the dataset's held-out labels, newest first, and whether there are more."""
    # One query per digest, because an index answers each in order.
    digests = {digest for split in HELD_OUT for digest in _list_digests(dataset, split)}
    of_digests = [(LabelReadRow.owner == owner, LabelReadRow.digest == digest) for digest in sorted(digests)]
    parts = [
        select_page(select(LabelReadRow.id).where(*which), LabelReadRow.id, after, limit).subquery()
        for which in (*of_digests, _match_folds(owner, dataset))
    ]
    found = union_all(*(select(part.c.id) for part in parts))
    newest = select(LabelReadRow).where(LabelReadRow.id.in_(found)).order_by(LabelReadRow.id.desc()).limit(limit + 1)
    rows = session.scalars(newest).all()
    return rows[:limit], len(rows) > limit


def give_digests(session: Session, dataset: DatasetRow) -> None:
    """Move the reads of a dataset from its stand-in digests to the real ones, which it has just received."""
    known = aliased(LabelReadRow)
    for split in HELD_OUT:
        digest, stand_in = _get_digest(dataset, split), _make_stand_in(dataset, split)
        if digest == stand_in:
            continue
        under_stand_in = [LabelReadRow.digest == stand_in]
        if dataset.owner is not None:
            under_stand_in.append(LabelReadRow.owner == dataset.owner)
        is_known = exists().where(
            known.owner == LabelReadRow.owner,
            known.digest == digest,
            known.subject_id == LabelReadRow.subject_id,
            known.epoch == LabelReadRow.epoch,
        )
        for change in (
            update(LabelReadRow).where(*under_stand_in, ~is_known).values(digest=digest),
            delete(LabelReadRow).where(*under_stand_in),
        ):
            session.execute(change)


def _match_folds(owner: str, dataset: DatasetRow) -> tuple[ColumnElement[bool], ...]:
    return LabelReadRow.owner == owner, LabelReadRow.dataset_id == dataset.id, LabelReadRow.fold.is_not(None)


def _list_digests(dataset: DatasetRow, split: str) -> set[str]:
    """List the digest of the split's labels, and its stand-in from before that was known."""
    return {_get_digest(dataset, split), _make_stand_in(dataset, split)}


def _get_digest(dataset: DatasetRow, split: str) -> str:
    return (dataset.splits or {}).get(split, {}).get("sha256") or _make_stand_in(dataset, split)


def _make_stand_in(dataset: DatasetRow, split: str) -> str:
    return f"{dataset.sha256 or dataset.id}:{split}"
