"""Builds the view of a dataset."""

from heldout.lifecycle.dataset import DatasetStatus
from heldout.views.base import make_view
from heldout.views.dataset import DatasetView
from models.tables import DatasetRow


def build_dataset_view(row: DatasetRow, *, with_changes: bool = True, queue_position: int | None = None) -> DatasetView:
    """Build the view of a dataset. Only a ready dataset has a digest, because it is that of the checked content.

    with_changes: whether to include a derived version's changes, which may name thousands of images.
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
        queue_position=queue_position,
    )


def get_thumbnail_route(dataset_id: str, index: int) -> str:
    """Get the route of an image's picture."""
    return f"/v1/datasets/{dataset_id}/preview/{index}"
