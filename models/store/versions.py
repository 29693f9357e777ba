"""Derives versions of datasets from others, and records images that were marked as different."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.access.rights import count_bytes
from heldout.errors import InvalidSpec, NoAudit
from heldout.errors.base import FieldError
from heldout.fixes.changes import ResplitSpec, VersionChanges, VersionSpec, list_refusals
from heldout.fixes.offers import MAX_DIFFERENT, DifferentSpec
from heldout.lifecycle.resources import DatasetStatus
from heldout.spec.dataset import DatasetSpec, SplitSpec
from heldout.spec.documents import make_pointer
from heldout.work.kinds import DeriveSpec
from heldout.work.memory import estimate_check_bytes
from models.store import datasets, new_jobs, quotas, workers
from models.store.new_jobs import NewJob
from models.store.uploads import add_version
from models.tables import DatasetRow


def derive(session: Session, owner: str, reference: str, spec: VersionSpec, *, max_runtime_s: float) -> DatasetRow:
    """Queue a new version, with changes, of a dataset that the owner sees. Returns the version.

    A version derived from a bundled dataset belongs to the owner's dataset of that name. The source's content is kept
    until the job has ended, even if the source is deleted.

    Raises:
        DatasetNotFound, DatasetNotReady.
        InvalidSpec: if the changes do not fit the dataset.
        QuotaExceeded, OwnerSuspended.
    """
    spec_bytes = count_bytes(spec.model_dump_json()) or 0
    quotas.require_room(session, owner, *quotas.OF_NEW_DATASETS, *quotas.OF_NEW_JOBS, spec_bytes=spec_bytes)
    # Locked, so that it is not deleted before the job is queued.
    base = datasets.lock(session, datasets.require(session, owner, reference).id, reference)
    datasets.require_content(base, "images that can be changed")
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
    needed_bytes = workers.compute_reservable(session, estimate_check_bytes(base.size_bytes))
    name = f"{row.name}@{row.version}"
    new_jobs.add(session, NewJob(spec=derive, owner=owner, name=name, dataset_id=row.id, memory_bytes=needed_bytes))
    session.refresh(row)
    return row


def require_fit(base: DatasetRow, changes: VersionChanges) -> None:
    """Raise InvalidSpec if the changes do not fit the version."""
    height, width, channels = base.shape or (0, 0, 0)
    refused = list_refusals(
        changes,
        classes=base.classes or (),
        images=sum(split["count"] for split in (base.splits or {}).values()),
        shape=(height, width, channels),
    )
    if refused:
        raise InvalidSpec(f"The changes do not fit {base.name}@{base.version}: {refused[0].detail}", errors=refused)


def _make_spec(base: DatasetRow, name: str, changes: VersionChanges) -> DatasetSpec:
    """Make the spec of the new version from that of the base, with the new name and, if requested, the new splits."""
    spec = DatasetSpec(name=base.name) if base.spec is None else DatasetSpec.model_validate(base.spec)
    splits = SplitSpec(test=spec.splits.test, validation=spec.splits.validation, seed=spec.splits.seed)
    if changes.resplit:
        resplit = changes.resplit if isinstance(changes.resplit, ResplitSpec) else ResplitSpec()
        given = resplit.model_dump(exclude_none=True)
        splits = splits.model_copy(update={"existing": "merge", **given})
    return spec.model_copy(update={"name": name, "description": base.description, "splits": splits, "adds_to": None})


MAX_REFUSALS = 20


def find_different(session: Session, dataset_id: str) -> list[tuple[int, int]]:
    """Find the pairs of positions that were marked as different in a version, in order."""
    stored = session.scalar(select(DatasetRow.different).where(DatasetRow.id == dataset_id))
    return [(first, other) for first, other in stored or ()]


def note_different(session: Session, owner: str, reference: str, spec: DifferentSpec) -> DatasetRow:
    """Mark pairs of images as different, or remove the marks. Returns the version.

    Raises:
        DatasetNotFound, DatasetNotReady.
        NoAudit: if the dataset is bundled.
        InvalidSpec: if there is no such image, or if the version would have too many pairs.
    """
    found = datasets.require(session, owner, reference)
    if found.owner is None:
        raise NoAudit(found.name)
    row = session.scalars(select(DatasetRow).where(DatasetRow.id == found.id).with_for_update()).one()
    datasets.require_content(row, "images to mark as different")
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
            f"{row.name}@{row.version} would have {len(left):,} marked pairs; expected at most {MAX_DIFFERENT:,}. "
            "Exclude images that look the same, or split the dataset."
        )
        raise InvalidSpec(detail, pointer="/pairs")
    row.different = [list(pair) for pair in left] or None
    session.flush()
    return row


def _explain_refusal(pair: Sequence[int], images: int) -> str:
    if pair[0] == pair[1]:
        return f"Image {pair[0]} is named twice. A pair has two different images, such as [3, 8]."
    if max(pair) >= images:
        return f"There is no image {max(pair)}. The version has {images:,} images, counted from 0."
    return ""
