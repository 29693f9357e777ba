"""Reads epochs and results of jobs. Each attempt writes its own rows; a later attempt hides those after its start."""

from collections.abc import Collection, Sequence
from math import inf, isfinite

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from analysis.reports.courses import EpochFigures
from heldout.stored.inside import EpochInside
from heldout.stored.results import FinalView
from heldout.views.base import make_view
from heldout.views.job import BestEpochView, JobCurveView, SummaryView
from models.tables import AttemptRow, EpochRow, JobRow, ResultRow


def list_epochs(session: Session, job_id: str) -> Sequence[EpochRow]:
    """List the job's epochs in order, each from the last attempt that measured it."""
    return session.scalars(
        select(EpochRow).where(EpochRow.job_id == job_id, ~_is_superseded()).order_by(EpochRow.epoch)
    ).all()


def read_looks(epochs: Sequence[EpochRow]) -> dict[int, EpochInside]:
    """Read what was seen inside the network, by epoch."""
    return {row.epoch: EpochInside.model_validate(row.inside) for row in epochs if row.inside is not None}


def get_curves(session: Session, job_ids: Collection[str]) -> dict[str, list[EpochFigures]]:
    """Get the curves of many jobs by id. Jobs without epochs are omitted."""
    columns = [getattr(EpochRow, name) for name in EpochFigures._fields]
    rows = session.execute(
        select(EpochRow.job_id, *columns)
        .where(EpochRow.job_id.in_(job_ids), ~_is_superseded())
        .order_by(EpochRow.job_id, EpochRow.epoch)
    )
    curves: dict[str, list[EpochFigures]] = {}
    for job_id, *figures in rows:
        curves.setdefault(job_id, []).append(EpochFigures(*figures))
    return curves


def get_sketches(session: Session, job_ids: Collection[str], points: int) -> dict[str, JobCurveView]:
    """Get at most `points` (2 or more) evenly spaced epochs of each job, including the first and the last.

    The database skips the others, so that long histories cost little more than short ones.
    """
    stride = JobRow.epoch // (points - 1) + 1
    rows = session.execute(
        select(EpochRow.job_id, EpochRow.epoch, EpochRow.train_loss, EpochRow.validation_loss)
        .join(JobRow, JobRow.id == EpochRow.job_id)
        .where(JobRow.id.in_(job_ids), or_((EpochRow.epoch - 1) % stride == 0, EpochRow.epoch == JobRow.epoch))
        .where(~_is_superseded())
        .order_by(EpochRow.job_id, EpochRow.epoch)
    )
    sketches: dict[str, JobCurveView] = {}
    for job_id, epoch, train_loss, validation_loss in rows:
        sketch = sketches.setdefault(job_id, JobCurveView(epochs=[], train_loss=[], validation_loss=[]))
        sketch.epochs.append(epoch)
        sketch.train_loss.append(train_loss)
        sketch.validation_loss.append(validation_loss)
    return sketches


def _is_superseded() -> ColumnElement[bool]:
    later = aliased(AttemptRow)
    return exists().where(
        and_(
            later.job_id == EpochRow.job_id,
            later.attempt > EpochRow.attempt,
            later.start_epoch < EpochRow.epoch,
        )
    )


def get_final(session: Session, job_id: str) -> FinalView | None:
    """Get the figures of the kept weights, if the job has succeeded."""
    row = session.get(ResultRow, job_id)
    return None if row is None else FinalView.model_validate(row.final)


def get_best_epochs(session: Session, job_id: str) -> SummaryView:
    """Summarize the epochs with the lowest validation loss and the highest validation accuracy. Ties: the earlier."""
    epochs = list_epochs(session, job_id)
    by_loss = [row for row in epochs if row.validation_loss is not None]
    by_accuracy = [row for row in epochs if row.validation_accuracy is not None]
    return SummaryView(
        best=_build_epoch_view(min(by_loss, key=lambda row: row.validation_loss or 0.0, default=None)),
        most_accurate=_build_epoch_view(max(by_accuracy, key=lambda row: row.validation_accuracy or 0.0, default=None)),
    )


def _build_epoch_view(row: EpochRow | None) -> BestEpochView | None:
    return None if row is None else make_view(BestEpochView, row)


MIN_POINTS = 10


def thin_out(epochs: Sequence[EpochRow], points: int) -> list[EpochRow]:
    """Keep at most `points` epochs: the first, last and best one, and the lowest and highest of each stretch.

    Args:
        points: at least MIN_POINTS. Shorter histories are kept completely.
    """
    if len(epochs) <= points:
        return list(epochs)
    losses = [epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss for epoch in epochs]
    # A missing loss is a peak, so that a diverging training stays visible.
    heights = [loss if loss is not None and isfinite(loss) else inf for loss in losses]
    places = range(len(epochs))
    kept = {0, len(epochs) - 1, min(places, key=heights.__getitem__)}
    stretches = (points - len(kept)) // 2
    for stretch in range(stretches):
        begin, end = (len(epochs) * edge // stretches for edge in (stretch, stretch + 1))
        kept |= {min(places[begin:end], key=heights.__getitem__), max(places[begin:end], key=heights.__getitem__)}
    return [epochs[place] for place in sorted(kept)]
