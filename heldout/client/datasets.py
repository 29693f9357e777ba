"""The client's methods for datasets."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from heldout.client.connection import TIMEOUT_S
from heldout.client.dual import dual, dual_iterator
from heldout.client.resource import OneHandle, Resource
from heldout.client.typed_answers import PAGE, make_idempotency_header
from heldout.errors import DatasetNotFound
from heldout.fixes.changes import VersionChanges
from heldout.views.audit import AuditView, SuspectsView
from heldout.views.dataset import (
    DatasetImagePage,
    DatasetPage,
    DatasetView,
    DifferentView,
    EffectView,
    IndicesView,
    LedgerView,
)


class DatasetResource(Resource[OneHandle]):
    """Datasets. `dataset_id` may be an id, a name, or name@version everywhere."""

    _route, _missing = "/v1/datasets", DatasetNotFound

    @dual_iterator
    def list(self, *, status: str | None = None, page_size: int = PAGE) -> AsyncIterator[OneHandle]:
        """Yield the datasets that you can use, including the bundled ones, newest first.

        Args:
            status: only datasets with this status. Without it, rejected versions with a newer version are left out.
        """
        params = [] if status is None else [("status", status)]
        return self._wrap_each(self._answers.pages(DatasetPage, "/v1/datasets", params, page_size=page_size))

    @dual
    async def get(self, dataset_id: str) -> OneHandle:
        return await self._receive(DatasetView, "GET", self._path(dataset_id))

    @dual
    async def split_indices(self, dataset_id: str) -> IndicesView:
        """List the positions of the images in each split."""
        return await self._get(IndicesView, dataset_id, "splits")

    @dual
    async def audit(self, dataset_id: str) -> AuditView:
        """Get what the audit found in the data."""
        return await self._get(AuditView, dataset_id, "audit")

    @dual
    async def ledger(self, dataset_id: str, *, limit: int = PAGE, after: str | None = None) -> LedgerView:
        """Count your looks at its validation and test labels, and list `limit` of them.

        Args:
            after: `entries.next` of the previous page.
        """
        page = [("limit", str(limit)), *([] if after is None else [("after", after)])]
        return await self._get(LedgerView, dataset_id, "ledger", params=page)

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
        params = [("limit", str(limit)), ("after", str(after)), ("wait", str(wait_s))]
        if again:
            params.append(("again", "true"))
        route = self._path(dataset_id, "suspects")
        return await self._answers.read(SuspectsView, "GET", route, params=params, timeout_s=wait_s + TIMEOUT_S)

    @dual
    async def images(
        self, dataset_id: str, *, split: str = "train", class_: str | None = None, limit: int = PAGE, after: int = 0
    ) -> DatasetImagePage:
        """List images of a split with labels and the routes of their thumbnails, in the order of the source.

        Args:
            class_: only images of this class.
            after: `next` of the previous page.
        """
        params = [("split", split), ("limit", str(limit)), ("after", str(after))]
        if class_ is not None:
            params.append(("class", class_))
        return await self._get(DatasetImagePage, dataset_id, "images", params=params)

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
    async def create(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> OneHandle:
        """Announce a dataset: its `name` and how to read its content, which `upload` sends. `push` does both.

        Without a key the client generates one, so a retry never announces a second dataset.
        """
        headers = make_idempotency_header(idempotency_key)
        return await self._receive(DatasetView, "POST", "/v1/datasets", body=spec, headers=headers, repeatable=True)

    @dual
    async def upload(
        self,
        dataset_id: str,
        content: Path | str | Iterable[bytes],
        *,
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
    ) -> OneHandle:
        """Upload a dataset's content: an archive, an `.npz` or a Parquet file, or its bytes in chunks.

        A file is sent with its SHA-256, and sent again from the beginning if the connection fails.

        Args:
            wrap_chunks: receives the chunks of the file and yields them again, for example to count them.
        Raises:
            OSError: if the file cannot be read.
        """
        route = self._path(dataset_id, "content")
        if isinstance(content, Path | str):
            sent = await self._connection.upload_file(route, Path(content), wrap_chunks)
        else:
            sent = await self._connection.upload(route, content)
        return self._wrap(self._answers.parsed(DatasetView, sent.content))

    @dual
    async def fix(
        self, dataset_id: str, changes: VersionChanges | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> OneHandle:
        """Order a new version with changes, such as the `fix` of a finding. Its status is `checking` at first.

        Args:
            changes: as in `POST /v1/datasets/{id}/versions`.
        """
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        route = self._path(dataset_id, "versions")
        headers = make_idempotency_header(idempotency_key)
        return await self._receive(DatasetView, "POST", route, body=body, headers=headers, repeatable=True)

    @dual
    async def preview_fix(self, dataset_id: str, changes: VersionChanges | Mapping[str, Any]) -> EffectView:
        """Count the images of each split that the changes would remove or change; nothing is created."""
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        route = self._path(dataset_id, "versions/effect")
        return await self._answers.read(EffectView, "POST", route, body=body, repeatable=True)

    @dual
    async def mark_different(
        self, dataset_id: str, pairs: Iterable[tuple[int, int]], *, different: bool = True
    ) -> DifferentView:
        """Record that similar images are different, so they are no longer reported as copies or look-alikes.

        Args:
            pairs: the positions of two images each. Versions derived from this one keep the record.
            different: False deletes the record.
        """
        body = {"pairs": [list(pair) for pair in pairs], "different": different}
        return await self._answers.read(
            DifferentView, "POST", self._path(dataset_id, "different"), body=body, repeatable=True
        )

    @dual
    async def delete(self, dataset_id: str) -> None:
        await self._connection.send("DELETE", self._path(dataset_id))
