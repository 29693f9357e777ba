"""The pairs of a version's images that were told apart, as their view."""

from heldout.views.mending import DifferentView
from models.tables import DatasetRow
from models.views.job import dataset_reference


def different_view(row: DatasetRow) -> DifferentView:
    """The pairs of a version's images that were told apart."""
    pairs = [(one, other) for one, other in row.different or ()]
    return DifferentView(object="different", dataset=dataset_reference(row), pairs=pairs)
