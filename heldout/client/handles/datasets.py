"""A dataset of a client, and uploads of folders and archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heldout.client.datasets import DatasetResource
from heldout.client.dual import Awaiting, Blocking, dual, dual_self
from heldout.client.handles.progress import show_bytes_bar
from heldout.client.resource import NamedHandle, OneHandle, by_id, renew
from heldout.lifecycle.resources import DatasetStatus
from heldout.views.dataset import DatasetView

INGEST_POLL_S = 0.3


class DatasetRejected(Exception):
    """The service rejected an upload; the message says why. `dataset` is its view."""

    def __init__(self, dataset: DatasetView) -> None:
        error = dataset.error
        what = f"{dataset.name}@{dataset.version} was rejected"
        super().__init__(f"{what}: {error.code}: {error.detail}" if error else f"{what}.")
        self.dataset = dataset


class DatasetHandle(NamedHandle[DatasetView]):
    """A version of a dataset."""

    upload = renew(DatasetResource.upload)
    fix = renew(DatasetResource.fix)
    preview_fix = by_id(DatasetResource.preview_fix)
    mark_different = by_id(DatasetResource.mark_different)
    audit = by_id(DatasetResource.audit)
    ledger = by_id(DatasetResource.ledger)
    suspects = by_id(DatasetResource.suspects)
    split_indices = by_id(DatasetResource.split_indices)
    images = by_id(DatasetResource.images)
    image = by_id(DatasetResource.image)
    contact_sheet = by_id(DatasetResource.contact_sheet)
    delete = by_id(DatasetResource.delete)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}@{self.view.version} {self.status}>"

    @dual_self
    async def refresh(self) -> Any:
        """Ask for the dataset again. An upload of what a version has already becomes that version."""
        resource: Any = self._resource
        found: Any = await DatasetResource.get(resource, self.id)
        self.view = found.view
        return self

    @dual_self
    async def wait(self) -> Any:
        """Wait until the service has read the upload.

        Raises:
            DatasetRejected: if the service could not use what was sent.
        """
        while self.status in {DatasetStatus.UPLOADING, DatasetStatus.CHECKING}:
            await self._client.pause_for(INGEST_POLL_S)
            await DatasetHandle.refresh(self)
        if self.status == DatasetStatus.REJECTED:
            raise DatasetRejected(self.view)
        return self


class UploadingResource(DatasetResource[OneHandle]):
    """Datasets, and `push`, which does everything that an upload takes."""

    @dual
    async def push(
        self,
        /,
        path: Path | str | Sequence[Path | str],
        *,
        name: str | None = None,
        wait: bool = True,
        progress: bool = False,
        **spec: Any,
    ) -> OneHandle:
        """Upload images, and wait until the service has read them.

        Args:
            path: a folder of class/image, an archive, an `.npz` or a Parquet file; or several, uploaded together.
            name: the name of the dataset; by default derived from the path.
            progress: show a bar during the upload.
            spec: other fields of `POST /v1/datasets`, such as `resize` or `group_by`.
        Raises:
            DatasetRejected: if the service could not use what was sent.
            NothingToPack: if there are no files, or the paths cannot be combined.
            OSError: if a file cannot be read.
        """
        # Readers of archives, which no other part of a client needs.
        from heldout.client.packing import derive_name, prepare_upload

        paths = [Path(path)] if isinstance(path, str | Path) else [Path(file) for file in path]
        if name is None and len(paths) != 1:
            raise ValueError('Several paths need a name: push([…], name="pets").')
        content, total = prepare_upload(paths)
        resource: Any = self
        dataset: Any = await DatasetResource.create(resource, {"name": name or derive_name(paths[0]), **spec})
        try:
            with show_bytes_bar(total, progress) as count:
                if isinstance(content, Path):
                    await DatasetHandle.upload(dataset, content, wrap_chunks=count)
                else:
                    await DatasetHandle.upload(dataset, count(content))
        except (ValueError, OSError):
            await DatasetHandle.delete(dataset)
            raise
        if wait:
            await DatasetHandle.wait(dataset)
        return dataset  # type: ignore[no-any-return]


class Dataset(DatasetHandle, Blocking): ...


class AsyncDataset(DatasetHandle, Awaiting): ...


class Datasets(UploadingResource[Dataset], Blocking):
    _handle = Dataset


class AsyncDatasets(UploadingResource[AsyncDataset], Awaiting):
    _handle = AsyncDataset
