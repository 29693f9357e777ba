"""The client's methods for datasets."""

import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from heldout.client.connection import TIMEOUT_S, Connection
from heldout.client.dual import dual, dual_iterator
from heldout.client.typed_answers import PAGE, TypedAnswers, make_idempotency_header, quote_segment
from heldout.errors import DatasetNotFound
from heldout.fixes.changes import VersionChanges
from heldout.views.audit import AuditView
from heldout.views.dataset import DatasetImagePage, DatasetPage, DatasetView, IndicesView
from heldout.views.fixes import DifferentView, EffectView
from heldout.views.ledger import LedgerView
from heldout.views.suspects import SuspectsView


class DatasetMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    @dual_iterator
    def list_datasets(self, *, status: str | None = None, page_size: int = PAGE) -> AsyncIterator[DatasetView]:
        """The datasets that the owner sees, bundled ones included, newest first.

        Args:
            status: only those that have it. Without it, rejected versions that have a newer one are left out.
        """
        params = [] if status is None else [("status", status)]
        return self._answers.pages(DatasetPage, "/v1/datasets", params, page_size=page_size)

    @dual
    async def dataset(self, dataset_id: str) -> DatasetView:
        return await self._answers.read(DatasetView, "GET", _build_dataset_path(dataset_id))

    @dual
    async def dataset_splits(self, dataset_id: str) -> IndicesView:
        return await self._answers.read(IndicesView, "GET", _build_dataset_path(dataset_id) + "/splits")

    @dual
    async def dataset_audit(self, dataset_id: str) -> AuditView:
        return await self._answers.read(AuditView, "GET", _build_dataset_path(dataset_id) + "/audit")

    @dual
    async def dataset_ledger(self, dataset_id: str, *, limit: int = PAGE, after: str | None = None) -> LedgerView:
        """How often the owner has looked at its validation and test labels, with `limit` of these looks.

        Args:
            after: `entries.next` of the page before.
        """
        page = [("limit", str(limit)), *([] if after is None else [("after", after)])]
        return await self._answers.read(LedgerView, "GET", _build_dataset_path(dataset_id) + "/ledger", params=page)

    @dual
    async def dataset_suspects(
        self, dataset_id: str, *, limit: int = PAGE, after: int = 0, wait_s: int = 0, again: bool = False
    ) -> SuspectsView:
        """Images whose label is probably wrong, the surest first. The first request starts a search for them.

        Args:
            after: `next` of the page before.
            wait_s: how long the service may wait for the end of the search (0–60).
            again: search once more after a search that failed, or that an earlier release made.
        """
        params = [("limit", str(limit)), ("after", str(after)), ("wait", str(wait_s))]
        if again:
            params.append(("again", "true"))
        route = _build_dataset_path(dataset_id) + "/suspects"
        return await self._answers.read(SuspectsView, "GET", route, params=params, timeout_s=wait_s + TIMEOUT_S)

    @dual
    async def dataset_images(
        self, dataset_id: str, *, split: str = "train", class_: str | None = None, limit: int = PAGE, after: int = 0
    ) -> DatasetImagePage:
        """Images of a split with their labels and the routes of their thumbnails, in the source's order.

        Args:
            class_: only images of this class.
            after: `next` of the page before.
        """
        params = [("split", split), ("limit", str(limit)), ("after", str(after))]
        if class_ is not None:
            params.append(("class", class_))
        return await self._answers.read(
            DatasetImagePage, "GET", _build_dataset_path(dataset_id) + "/images", params=params
        )

    @dual
    async def dataset_preview(self, dataset_id: str, class_: str) -> bytes:
        """The contact sheet of a class, a PNG."""
        return (
            await self._connection.send("GET", _build_dataset_path(dataset_id) + "/preview", params={"class": class_})
        ).content

    @dual
    async def dataset_image(self, dataset_id: str, index: int) -> bytes:
        """One image by its position, a PNG."""
        return (await self._connection.send("GET", f"{_build_dataset_path(dataset_id)}/preview/{int(index)}")).content

    @dual
    async def picture(self, route: str) -> bytes:
        """A PNG: the contact sheet of a class, or the thumbnail that an example of an audit names."""
        return (await self._connection.send("GET", route)).content

    @dual
    async def create_dataset(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> DatasetView:
        """Announce a dataset: `name`, and how its upload is to be read; `upload` brings the content.

        A key is drawn where none is given, so that a repeat never announces a second one.
        """
        headers = make_idempotency_header(idempotency_key)
        return await self._answers.read(
            DatasetView, "POST", "/v1/datasets", body=spec, headers=headers, repeatable=True
        )

    @dual
    async def upload(
        self,
        dataset_id: str,
        content: Path | str | Iterable[bytes],
        *,
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
    ) -> DatasetView:
        """Send a dataset's content: an archive, an `.npz` or a Parquet file, or its bytes in pieces.

        A file is sent with its SHA-256, and again from its beginning after a failure of the connection.

        Args:
            wrap_chunks: is given the chunks of a file and yields them again; a progress bar counts them.
        Raises:
            OSError: if the file cannot be read.
        """
        route = _build_dataset_path(dataset_id) + "/content"
        if isinstance(content, Path | str):
            sent = await self._connection.upload_file(route, Path(content), wrap_chunks)
            return self._answers.parsed(DatasetView, sent.content)
        return self._answers.parsed(DatasetView, (await self._connection.upload(route, content)).content)

    @dual
    async def fix_dataset(
        self, dataset_id: str, changes: VersionChanges | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> DatasetView:
        """Order a new version with changes, such as the `fix` of a finding; it is `checking` at first.

        Args:
            dataset_id: the version that is changed: an id, a name, or name@version.
            changes: as in `POST /v1/datasets/{id}/versions`.
        """
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        route = _build_dataset_path(dataset_id) + "/versions"
        headers = make_idempotency_header(idempotency_key)
        return await self._answers.read(DatasetView, "POST", route, body=body, headers=headers, repeatable=True)

    @dual
    async def mend_dataset(
        self, dataset_id: str, changes: VersionChanges | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> DatasetView:
        """The former name of `fix_dataset`, which goes with the next release."""
        warnings.warn("mend_dataset is now called fix_dataset.", DeprecationWarning, stacklevel=3)
        return await DatasetMethods.fix_dataset(self, dataset_id, changes, idempotency_key=idempotency_key)

    @dual
    async def dataset_effect(self, dataset_id: str, changes: VersionChanges | Mapping[str, Any]) -> EffectView:
        """How many images of which split changes would remove or change; nothing is made."""
        body = changes.body() if isinstance(changes, VersionChanges) else changes
        route = _build_dataset_path(dataset_id) + "/versions/effect"
        return await self._answers.read(EffectView, "POST", route, body=body, repeatable=True)

    @dual
    async def tell_apart(
        self, dataset_id: str, pairs: Iterable[tuple[int, int]], *, different: bool = True
    ) -> DifferentView:
        """Say that images which look alike are different: they are reported neither as copies nor as look-alikes.

        Args:
            pairs: positions of two images each. Versions derived from this one remember them.
            different: False forgets the answer.
        """
        body = {"pairs": [list(pair) for pair in pairs], "different": different}
        return await self._answers.read(
            DifferentView, "POST", _build_dataset_path(dataset_id) + "/different", body=body, repeatable=True
        )

    @dual
    async def delete_dataset(self, dataset_id: str) -> None:
        await self._connection.send("DELETE", _build_dataset_path(dataset_id))


def _build_dataset_path(dataset_id: str) -> str:
    return f"/v1/datasets/{quote_segment(dataset_id, DatasetNotFound(dataset_id))}"
