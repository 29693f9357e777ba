"""Datasets: what there is to train on, and how it is cut."""

import io
from typing import Annotated, Literal

import numpy as np
from fastapi import Path, Query
from pydantic import Field

from api.auth import CallerDep
from api.deps import ReadSessionDep, ServicesDep, cursor
from api.problems import problems
from api.routing import resource
from api.views import ErrorView, Page, Time, View
from heldout.errors import DatasetNotFound, DatasetNotReady, InvalidCursor, StorageUnavailable
from models.arrays import SPLITS
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.ids import is_id
from models.store import datasets
from models.tables import DatasetRow

router = resource("/v1/datasets", "datasets")

Reference = Annotated[str, Path(description="An id `ds_…`, a name (its newest ready version), or `name@version`.")]
DatasetStatus = Literal["uploading", "checking", "ready", "rejected"]


class SplitView(View):
    """Images of one split, and of each class in the order of `classes`."""

    count: int
    per_class: list[int]


class SplitsView(View):
    train: SplitView
    validation: SplitView
    test: SplitView


class DatasetView(View):
    """A version of a dataset; immutable once it is ready. What is not known before that is null."""

    id: str
    object: Literal["dataset"]
    name: str
    version: int
    status: DatasetStatus
    shape: tuple[int, int, int] | None = Field(description="Height, width and channels of an image.")
    dtype: str | None
    range: tuple[float, float] | None = Field(description="Smallest and largest pixel value that the source can hold.")
    classes: list[str] | None
    splits: SplitsView | None
    sha256: str | None
    size_bytes: int | None
    bundled: bool
    error: ErrorView | None
    created_at: Time

    @classmethod
    def of(cls, row: DatasetRow) -> "DatasetView":
        return cls.model_validate(
            {
                "id": row.id,
                "object": "dataset",
                "name": row.name,
                "version": row.version,
                "status": row.status,
                "shape": row.shape,
                "dtype": row.dtype,
                "range": row.value_range,
                "classes": row.classes,
                "splits": row.splits,
                "sha256": row.sha256,
                "size_bytes": row.size_bytes,
                "bundled": row.owner is None,
                "error": row.error,
                "created_at": row.created_at,
            }
        )


class IndicesView(View):
    """For each split the positions of its images in the source's order."""

    object: Literal["splits"]
    train: list[int]
    validation: list[int]
    test: list[int]


@router.get("", responses=problems(InvalidCursor))
def list_datasets(
    caller: CallerDep,
    session: ReadSessionDep,
    status: DatasetStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    after: Annotated[str | None, cursor("ds")] = None,
) -> Page[DatasetView]:
    """The caller's datasets and the bundled ones, newest first."""
    if after is not None and not is_id("ds", after):
        raise InvalidCursor
    rows, more = datasets.page(session, caller.owner, after=after, limit=limit, status=status)
    return Page(
        object="list",
        data=[DatasetView.of(row) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


@router.get("/{dataset}", responses=problems(DatasetNotFound))
def get_dataset(dataset: Reference, caller: CallerDep, session: ReadSessionDep) -> DatasetView:
    """One version of a dataset."""
    return DatasetView.of(_find(session, caller.owner, dataset))


@router.get("/{dataset}/splits", responses=problems(DatasetNotFound, DatasetNotReady, StorageUnavailable))
def get_splits(dataset: Reference, caller: CallerDep, session: ReadSessionDep, services: ServicesDep) -> IndicesView:
    """Which image is in which split."""
    row = _find(session, caller.owner, dataset)
    if row.status != "ready" or row.sha256 is None:
        raise DatasetNotReady(row.name, row.status)
    return IndicesView.model_validate({"object": "splits", **_indices(services.blobs, row.sha256)})


def _find(session: Session, owner: str, reference: str) -> DatasetRow:
    row = None if "\0" in reference else datasets.find(session, owner, reference)
    if row is None:
        raise DatasetNotFound(reference)
    return row


def _indices(blobs: Blobs, sha256: str) -> dict[str, list[int]]:
    try:
        stored = blobs.read(f"datasets/{sha256}/splits.npz")
    except BlobMissing as error:
        raise StorageUnavailable from error
    with np.load(io.BytesIO(stored)) as arrays:
        return {split: arrays[split].tolist() for split in SPLITS}
