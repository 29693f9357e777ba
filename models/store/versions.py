"""Versions of datasets that are derived from others, queued for a worker at once; images that were told apart."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.access.quotas import count_bytes
from heldout.errors import DatasetNotFound, InvalidSpec, NoAudit
from heldout.errors.base import FieldError
from heldout.fixes.changes import ResplitSpec, VersionChanges, VersionSpec
from heldout.fixes.look_alikes import MAX_DIFFERENT, DifferentSpec
from heldout.fixes.refusals import list_refusals
from heldout.lifecycle.dataset import DatasetStatus
from heldout.spec.dataset import DatasetSpec, SplitSpec
from heldout.spec.json_pointer import make_pointer
from heldout.work.kinds import DeriveSpec
from models.store import datasets, new_jobs, quotas
from models.store.new_jobs import NewJob
from models.store.uploads import add_version
from models.tables import DatasetRow


def derive(session: Session, owner: str, reference: str, spec: VersionSpec, *, max_runtime_s: float) -> DatasetRow:
    """Queue a new version of a dataset that the owner sees, with changes; gives the version.

    Of a bundled dataset it is a version of the owner's own dataset of that name. The content that it is made from
    stays until the job has ended, also where the dataset is deleted meanwhile.

    Raises:
        DatasetNotFound, DatasetNotReady.
        InvalidSpec: if the changes do not fit the dataset.
        QuotaExceeded, OwnerSuspended.
    """
    spec_bytes = count_bytes(spec.model_dump_json()) or 0
    quotas.require_room(session, owner, *quotas.OF_NEW_DATASETS, *quotas.OF_NEW_JOBS, spec_bytes=spec_bytes)
    base = _lock_base(session, owner, reference)
    changes = spec.changes()
    require_fit(base, changes)
    dataset = _make_spec(base, spec.name or base.name, changes)
    derived_from = {"dataset": {"id": base.id, "name": base.name, "version": base.version}}
    message = f"A worker will derive it from {base.name}@{base.version}."
    row = add_version(session, owner, dataset, DatasetStatus.CHECKING, message, derived_from, changes.body())
    derive = DeriveSpec(
        dataset=dataset,
        base=base.id,
        base_name=f"{base.name}@{base.version}" + (" (bundled)" if base.owner is None else ""),
        base_sha256=base.sha256 or "",
        changes=changes,
        max_runtime_s=max_runtime_s,
    )
    new_jobs.add(session, NewJob(spec=derive, owner=owner, name=f"{row.name}@{row.version}", dataset_id=row.id))
    session.refresh(row)
    return row


def require_fit(base: DatasetRow, changes: VersionChanges) -> None:
    """Raises InvalidSpec if the changes do not fit the version."""
    height, width, channels = base.shape or (0, 0, 0)
    refused = list_refusals(
        changes,
        classes=base.classes or (),
        images=sum(split["count"] for split in (base.splits or {}).values()),
        shape=(height, width, channels),
    )
    if refused:
        raise InvalidSpec(f"The changes do not fit {base.name}@{base.version}: {refused[0].detail}", errors=refused)


def _lock_base(session: Session, owner: str, reference: str) -> DatasetRow:
    """The version that is changed, locked so that nobody deletes it before the job is queued."""
    found = datasets.find(session, owner, reference)
    if found is None:
        raise DatasetNotFound(reference)
    row = session.scalars(select(DatasetRow).where(DatasetRow.id == found.id).with_for_update()).one()
    session.refresh(row)
    if row.deleted_at is not None:
        raise DatasetNotFound(reference)
    datasets.require_content(row, "images that can be changed")
    return row


def _make_spec(base: DatasetRow, name: str, changes: VersionChanges) -> DatasetSpec:
    """What was said of the base's upload, under the new name, and with the new cut where there is one."""
    said = DatasetSpec(name=base.name) if base.spec is None else DatasetSpec.model_validate(base.spec)
    splits = SplitSpec(test=said.splits.test, validation=said.splits.validation, seed=said.splits.seed)
    if changes.resplit:
        anew = changes.resplit if isinstance(changes.resplit, ResplitSpec) else ResplitSpec()
        given = anew.model_dump(exclude_none=True)
        splits = splits.model_copy(update={"existing": "merge", **given})
    return said.model_copy(update={"name": name, "description": base.description, "splits": splits})


MAX_REFUSALS = 20


def find_different(session: Session, dataset_id: str) -> list[tuple[int, int]]:
    """The pairs of a version, positions in it, in order."""
    stored = session.scalar(select(DatasetRow.different).where(DatasetRow.id == dataset_id))
    return [(first, other) for first, other in stored or ()]


def note_different(session: Session, owner: str, reference: str, spec: DifferentSpec) -> DatasetRow:
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
        FieldError(make_pointer(("pairs", place)), _explain_refusal(pair, images))
        for place, pair in enumerate(spec.pairs)
        if _explain_refusal(pair, images)
    ]
    if refused:
        raise InvalidSpec(refused[0].detail, errors=refused[:MAX_REFUSALS])
    known, named = set(find_different(session, row.id)), {(min(pair), max(pair)) for pair in spec.pairs}
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


def _explain_refusal(pair: Sequence[int], images: int) -> str:
    if pair[0] == pair[1]:
        return f"Image {pair[0]} is named twice: a pair is two images, such as [3, 8]."
    if max(pair) >= images:
        return f"There is no image {max(pair)}: the version has {images:,}, counted from 0."
    return ""
