"""The client's methods for datasets, uploads of folders and archives, and a dataset as an object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heldout.client.dual import Awaiting, Mode, dual, dual_iterator, dual_self
from heldout.client.progress import show_bytes_bar
from heldout.client.resource import PAGE, NamedHandle, Resource, by_id, renew
from heldout.errors import DatasetNotFound
from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import DatasetStatus
from heldout.views import dataset as views
from heldout.views.audit import AuditView, SuspectsView
from heldout.views.looks import MapView, SimilarView

INGEST_POLL_S = 0.3


class DatasetRejected(Exception):
    """The service rejected an upload; the message says why. `dataset` is its view."""

    def __init__(self, dataset: views.DatasetView) -> None:
        error = dataset.error
        what = f"{dataset.name}@{dataset.version} was rejected"
        super().__init__(f"{what}: {error.code}: {error.detail}" if error else f"{what}.")
        self.dataset = dataset


class Datasets(Resource["Dataset[Mode]", Mode]):
    """Datasets. `dataset_id` may be an id, a name, or name@version everywhere."""

    _route, _missing = "/v1/datasets", DatasetNotFound

    @dual_iterator
    def list(self, *, status: str | None = None, page_size: int = PAGE) -> AsyncIterator[Dataset[Mode]]:
        """Yield the datasets that you can use, including the bundled ones, newest first.

        Args:
            status: only datasets with this status. Without it, rejected versions with a newer version are left out.
        """
        params = {"status": status}
        return self._wrap_each(self._pages(views.DatasetPage, "/v1/datasets", params, page_size=page_size))

    @dual
    async def get(self, dataset_id: str) -> Dataset[Mode]:
        return await self._receive(views.DatasetView, "GET", self._path(dataset_id))

    @dual
    async def split_indices(self, dataset_id: str) -> views.IndicesView:
        """List the positions of the images in each split."""
        return await self._get(views.IndicesView, dataset_id, "splits")

    @dual
    async def audit(self, dataset_id: str) -> AuditView:
        """Get what the audit found in the data."""
        return await self._get(AuditView, dataset_id, "audit")

    @dual
    async def ledger(self, dataset_id: str, *, limit: int = PAGE, after: str | None = None) -> views.LedgerView:
        """Count your looks at its validation and test labels, and list `limit` of them.

        Args:
            after: `entries.next` of the previous page.
        """
        return await self._get(views.LedgerView, dataset_id, "ledger", params={"limit": limit, "after": after})

    @dual
    async def suspects(
        self, dataset_id: str, *, limit: int = PAGE, after: int = 0, wait_s: int = 0, again: bool = False
    ) -> SuspectsView:
        """List images whose label is probably wrong, most certain first. The first request starts the search.

        Args:
            after: `next` of the previous page.
            wait_s: how long the service may wait for the search to end (0–60).
            again: repeat a search that failed or was made by an earlier release.
        """
        params = {"limit": limit, "after": after, "wait": wait_s, "again": again or None}
        return await self._get(SuspectsView, dataset_id, "suspects", params=params)

    @dual
    async def similar(self, dataset_id: str, index: int, *, wait_s: int = 0, again: bool = False) -> SimilarView:
        """List the images that look most like this one. The first request has the features computed.

        Args:
            wait_s: how long the service may wait for the features (0–60).
            again: compute them again if that failed.
        """
        params = {"wait": wait_s, "again": again or None}
        return await self._get(SimilarView, dataset_id, f"images/{index}/similar", params=params)

    @dual
    async def map(self, dataset_id: str, *, job: str | None = None, wait_s: int = 0, again: bool = False) -> MapView:
        """Get a map of the images: those that look alike are near each other.

        Args:
            job: id of a job on this dataset. Each point then has its answer.
            wait_s, again: as of `similar`.
        """
        params = {"wait": wait_s, "again": again or None, "job": job}
        return await self._get(MapView, dataset_id, "map", params=params)

    @dual
    async def images(
        self, dataset_id: str, *, split: str = "train", class_: str | None = None, limit: int = PAGE, after: int = 0
    ) -> views.DatasetImagePage:
        """List images of a split with labels and the routes of their thumbnails, in the order of the source.

        Args:
            class_: only images of this class.
            after: `next` of the previous page.
        """
        params = {"split": split, "limit": limit, "after": after, "class": class_}
        return await self._get(views.DatasetImagePage, dataset_id, "images", params=params)

    @dual
    async def contact_sheet(self, dataset_id: str, class_: str) -> bytes:
        """Get the contact sheet of a class as PNG."""
        return (await self._connection.send("GET", self._path(dataset_id, "preview"), params={"class": class_})).content

    @dual
    async def image(self, dataset_id: str, index: int) -> bytes:
        """Get the image at a position as PNG."""
        return (await self._connection.send("GET", self._path(dataset_id, f"preview/{int(index)}"))).content

    @dual
    async def picture(self, route: str) -> bytes:
        """Get the PNG at a route of the service, such as a thumbnail that an audit names."""
        return (await self._connection.send("GET", route)).content

    @dual
    async def create(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Dataset[Mode]:
        """Announce a dataset: its `name` and how to read its content, which `upload` sends. `push` does both.

        Without a key the client generates one, so a retry never announces a second dataset.
        """
        return await self._create(views.DatasetView, "/v1/datasets", spec, idempotency_key)

    @dual
    async def upload(
        self,
        dataset_id: str,
        content: Path | str | bytes | Iterable[bytes],
        *,
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
    ) -> Dataset[Mode]:
        """Upload a dataset's content: an archive, an `.npz` or a Parquet file, or its bytes, perhaps in chunks.

        A file is sent with its SHA-256, and sent again from the beginning if the connection fails.

        Args:
            wrap_chunks: receives the chunks and yields them again, for example to count them.
        Raises:
            OSError: if the file cannot be read.
        """
        sent = await self._connection.upload(self._path(dataset_id, "content"), content, wrap_chunks)
        return self._wrap(self._parse(views.DatasetView, sent.content))

    @dual
    async def resize(self, dataset_id: str, height: int, width: int, rule: str = "pad") -> Dataset[Mode]:
        """Have an upload that was rejected for the sizes of its images read again, without sending it again.

        Args:
            rule: `pad`, `crop` or `stretch`.
        """
        body = {"height": height, "width": width, "rule": rule}
        route = self._path(dataset_id, "resize")
        return await self._receive(views.DatasetView, "POST", route, body=body, repeatable=True)

    @dual
    async def fix(
        self, dataset_id: str, changes: VersionChanges | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Dataset[Mode]:
        """Order a new version with changes, such as the `fix` of a finding. Its status is `checking` at first.

        Args:
            changes: as in `POST /v1/datasets/{id}/versions`.
        """
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        return await self._create(views.DatasetView, self._path(dataset_id, "versions"), body, idempotency_key)

    @dual
    async def preview_fix(self, dataset_id: str, changes: VersionChanges | Mapping[str, Any]) -> views.EffectView:
        """Count the images of each split that the changes would remove or change; nothing is created."""
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        route = self._path(dataset_id, "versions/effect")
        return await self._read(views.EffectView, "POST", route, body=body, repeatable=True)

    @dual
    async def mark_different(
        self, dataset_id: str, pairs: Iterable[tuple[int, int]], *, different: bool = True
    ) -> views.DifferentView:
        """Record that similar images are different, so they are no longer reported as copies or look-alikes.

        Args:
            pairs: the positions of two images each. Versions derived from this one keep the record.
            different: False deletes the record.
        """
        body = {"pairs": [list(pair) for pair in pairs], "different": different}
        return await self._read(
            views.DifferentView, "POST", self._path(dataset_id, "different"), body=body, repeatable=True
        )

    @dual
    async def delete(self, dataset_id: str) -> None:
        await self._connection.send("DELETE", self._path(dataset_id))

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
    ) -> Dataset[Mode]:
        """Upload images, and wait until the service has read them.

        Args:
            path: a folder of class/image, an archive, an `.npz` or a Parquet file; or several, uploaded together. Or a
                dataset of Hugging Face, `hf:owner/name`, which is read on this machine.
            name: the name of the dataset; by default derived from the path.
            progress: show a bar during the upload.
            spec: other fields of `POST /v1/datasets`, such as `resize` or `group_by`.
        Raises:
            DatasetRejected: if the service could not use what was sent.
            NothingToPack: if there are no files, or the paths cannot be combined.
            SizesDiffer: if the images differ in size and no `resize` is given. Nothing has been sent then.
            OSError: if a file cannot be read.
        """
        # Readers of archives, which no other part of a client needs.
        from heldout.client.hugging_face import expand_references
        from heldout.client.image_sizes import require_one_size
        from heldout.client.packing import derive_name, prepare_upload

        named = [Path(path)] if isinstance(path, str | Path) else [Path(file) for file in path]
        if name is None and len(named) != 1:
            raise ValueError('Several paths need a name: push([…], name="pets").')
        paths = expand_references(named)
        if "resize" not in spec and not spec.get("adds_to"):
            folders = (spec.get("splits") or {}).get("folders") or {}
            require_one_size(paths, {folder for folder, use in folders.items() if use == "ignore"})
        content, total = prepare_upload(paths)
        resource: Any = self
        dataset: Any = await Datasets.create(resource, {"name": name or derive_name(named[0]), **spec})
        try:
            with show_bytes_bar(total, progress) as count:
                await Dataset.upload(dataset, content, wrap_chunks=count)
        except (ValueError, OSError):
            await Dataset.delete(dataset)
            raise
        if wait:
            await Dataset.wait(dataset)
        return dataset  # type: ignore[no-any-return]


class Dataset(NamedHandle[views.DatasetView, Mode], of=Datasets):
    """A version of a dataset."""

    upload = renew(Datasets.upload)
    resize = renew(Datasets.resize)
    fix = renew(Datasets.fix)
    preview_fix = by_id(Datasets.preview_fix)
    mark_different = by_id(Datasets.mark_different)
    audit = by_id(Datasets.audit)
    ledger = by_id(Datasets.ledger)
    suspects = by_id(Datasets.suspects)
    similar = by_id(Datasets.similar)
    map = by_id(Datasets.map)
    split_indices = by_id(Datasets.split_indices)
    images = by_id(Datasets.images)
    image = by_id(Datasets.image)
    contact_sheet = by_id(Datasets.contact_sheet)
    delete = by_id(Datasets.delete)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}@{self.view.version} {self.status}>"

    @dual_self
    async def refresh(self) -> Any:
        """Ask for the dataset again. An upload of what a version has already becomes that version."""
        resource: Any = self._resource
        found: Any = await Datasets.get(resource, self.id)
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
            await Dataset.refresh(self)
        if self.status == DatasetStatus.REJECTED:
            raise DatasetRejected(self.view)
        return self


AsyncDataset = Dataset[Awaiting]
