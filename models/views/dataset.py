"""A dataset's row as its view."""

from heldout.lifecycle.dataset import DatasetStatus
from heldout.views.base import make_view
from heldout.views.dataset import DatasetView
from models.tables import DatasetRow


def build_dataset_view(row: DatasetRow, *, with_changes: bool = True) -> DatasetView:
    """The dataset as clients see it; the digest is of its checked content, so only a ready one has it.

    with_changes: what a derived version changed; it may name thousands of images, so lists and webhooks have null.
    """
    derived_from = row.derived_from
    if derived_from is not None:
        derived_from = {**derived_from, "changes": row.changes if with_changes else None}
    return make_view(
        DatasetView,
        row,
        object="dataset",
        range=row.value_range,
        sha256=row.sha256 if row.status == DatasetStatus.READY else None,
        bundled=row.owner is None,
        derived_from=derived_from,
    )


def get_thumbnail_route(dataset_id: str, index: int) -> str:
    """The route of an image's picture."""
    return f"/v1/datasets/{dataset_id}/preview/{index}"
