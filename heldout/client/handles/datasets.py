"""The datasets of a client as a collection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.client.dual import Awaiting, Blocking, dual, iterate
from heldout.client.handles.progress import show_bytes_bar
from heldout.client.methods import Methods
from heldout.lifecycle.dataset import DatasetStatus

if TYPE_CHECKING:
    from heldout.views.audit import AuditView
    from heldout.views.dataset import DatasetView

INGEST_POLL_S = 0.3


class DatasetRejected(Exception):
    """An upload was not taken; the message says why. `dataset` is its view."""

    def __init__(self, dataset: DatasetView) -> None:
        error = dataset.error
        what = f"{dataset.name}@{dataset.version} was rejected"
        super().__init__(f"{what}: {error.code}: {error.detail}" if error else f"{what}.")
        self.dataset = dataset


class DatasetCollection:
    """What the collections of both clients have. Names are an id, a name, or `name@version`."""

    def __init__(self, client: Methods) -> None:
        self._client = client

    @dual
    async def get(self, name: str) -> DatasetView:
        return await Methods.dataset(self._client, name)

    @dual
    async def audit(self, name: str) -> AuditView:
        """What its audit found."""
        return await Methods.dataset_audit(self._client, name)

    @dual
    async def delete(self, name: str) -> None:
        """Delete one that no job needs."""
        await Methods.delete_dataset(self._client, name)

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
    ) -> DatasetView:
        """Upload images, and wait until they have been ingested.

        Args:
            path: a folder of class/image, an archive, an `.npz` or a Parquet file; or several, which go up together.
            name: what jobs call it; by default the path's own name.
            progress: show a bar while it is sent.
            spec: what else `POST /v1/datasets` takes, such as `resize` or `group_by`.
        Raises:
            DatasetRejected: if the service could not take what was sent.
            NothingToPack: if there are no files, or the paths cannot go up together.
            OSError: if a file cannot be read.
        """
        from heldout.client.packing import (  # readers of archives, which nothing else of a client needs
            derive_name,
            prepare_upload,
        )

        paths = [Path(path)] if isinstance(path, str | Path) else [Path(file) for file in path]
        if name is None and len(paths) != 1:
            raise ValueError('Several paths need a name: push([…], name="pets").')
        content, total = prepare_upload(paths)
        dataset = await Methods.create_dataset(self._client, {"name": name or derive_name(paths[0]), **spec})
        try:
            with show_bytes_bar(total, progress) as count:
                if isinstance(content, Path):
                    dataset = await Methods.upload(self._client, dataset.id, content, wrap_chunks=count)
                else:
                    dataset = await Methods.upload(self._client, dataset.id, count(content))
        except (ValueError, OSError):
            await Methods.delete_dataset(self._client, dataset.id)
            raise
        while wait and dataset.status in {DatasetStatus.UPLOADING, DatasetStatus.CHECKING}:
            await self._client.pause_for(INGEST_POLL_S)
            dataset = await Methods.dataset(self._client, dataset.id)
        if dataset.status == DatasetStatus.REJECTED:
            raise DatasetRejected(dataset)
        return dataset


class Datasets(DatasetCollection, Blocking):
    """`client.datasets()` lists them, `client.datasets.push(path)` adds one."""

    def __call__(self, *, status: str | None = None) -> Iterator[DatasetView]:
        """The datasets that the owner sees, bundled ones included, newest first; see `Client.list_datasets`."""
        return iterate(Methods.list_datasets(self._client, status=status))


class AsyncDatasets(DatasetCollection, Awaiting):
    """`async for … in client.datasets()` lists them, `await client.datasets.push(path)` adds one."""

    def __call__(self, *, status: str | None = None) -> AsyncIterator[DatasetView]:
        """The datasets that the owner sees, bundled ones included, newest first; see `AsyncClient.list_datasets`."""
        return Methods.list_datasets(self._client, status=status)
