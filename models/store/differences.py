"""Pairs of images that look alike, and that somebody has told apart: remembered with a version of a dataset."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.errors import DatasetNotFound, InvalidSpec, NoAudit
from heldout.errors.base import FieldError
from heldout.mending.look_alikes import MAX_DIFFERENT, DifferentSpec
from heldout.spec.json_pointer import pointer_to
from models.store import datasets
from models.tables import DatasetRow

MAX_REFUSALS = 20


def find(session: Session, dataset_id: str) -> list[tuple[int, int]]:
    """The pairs of a version, positions in it, in order."""
    stored = session.scalar(select(DatasetRow.different).where(DatasetRow.id == dataset_id))
    return [(one, other) for one, other in stored or ()]


def note(session: Session, owner: str, reference: str, spec: DifferentSpec) -> DatasetRow:
    """Remember pairs of images as different ones, or forget that; gives the version.

    Raises:
        DatasetNotFound, DatasetNotReady.
        NoAudit: the dataset comes with the service.
        InvalidSpec: if there is no such image, or if the version would have too many pairs.
    """
    found = datasets.find(session, owner, reference)
    if found is None:
        raise DatasetNotFound(reference)
    if found.owner is None:
        raise NoAudit(found.name)
    row = session.scalars(select(DatasetRow).where(DatasetRow.id == found.id).with_for_update()).one()
    datasets.require_content(row, "images to tell apart")
    images = sum(split["count"] for split in (row.splits or {}).values())
    refused = [
        FieldError(pointer_to(("pairs", place)), _refusal(pair, images))
        for place, pair in enumerate(spec.pairs)
        if _refusal(pair, images)
    ]
    if refused:
        raise InvalidSpec(refused[0].detail, errors=refused[:MAX_REFUSALS])
    known, named = set(find(session, row.id)), {(min(pair), max(pair)) for pair in spec.pairs}
    left = sorted(known | named if spec.different else known - named)
    if len(left) > MAX_DIFFERENT:
        detail = (
            f"{row.name}@{row.version} would remember {len(left):,} pairs; at most {MAX_DIFFERENT:,} are possible. "
            "Leave images out that cannot be told apart, or split the dataset."
        )
        raise InvalidSpec(detail, errors=[FieldError("/pairs", detail)])
    row.different = [list(pair) for pair in left] or None
    session.flush()
    return row


def _refusal(pair: Sequence[int], images: int) -> str:
    if pair[0] == pair[1]:
        return f"Image {pair[0]} is named twice: a pair is two images, such as [3, 8]."
    if max(pair) >= images:
        return f"There is no image {max(pair)}: the version has {images:,}, counted from 0."
    return ""
