"""Builds the view of the images that were hardest to learn."""

from collections.abc import Sequence

from heldout.views.base import make_view
from heldout.views.results import MemorizedImageView, MemorizedPage
from models.memorized import HardImages
from models.views.dataset import get_thumbnail_route

EXPLANATION = (
    "The images that were hardest to learn. A high sum of losses means that an image is hard, unlike others of its "
    "class, or wrongly labeled: look at the first ones."
)
NOT_KEPT = (
    "This job did not record the losses of its training images, because it measured them only at the end "
    "(evaluation.train: final) or was started by an earlier release. Train it again to see the hardest images."
)


def build_memorized_page(
    found: HardImages | None, classes: Sequence[str], dataset_id: str, after: int
) -> MemorizedPage:
    """Build one page of a job's training images.

    Args:
        found: None if the job recorded no sums.
        classes: class names by position.
        dataset_id: the dataset that the job trained on.
    """
    if found is None:
        return MemorizedPage(
            object="list", data=[], has_more=False, next=None, explanation=NOT_KEPT, epochs=None, count=None
        )
    end = after + len(found.images)
    has_more = bool(found.images) and end < found.count
    return MemorizedPage(
        object="list",
        data=[
            make_view(
                MemorizedImageView,
                image,
                thumbnail=get_thumbnail_route(dataset_id, image.index),
                label=classes[image.label],
                answer=classes[image.answer],
                loss_mean=image.loss_sum / max(1, found.epochs),
            )
            for image in found.images
        ],
        has_more=has_more,
        next=end if has_more else None,
        explanation=EXPLANATION,
        epochs=found.epochs,
        count=found.count,
    )
