"""The images that were hardest to learn as their view, and what that means in words."""

from collections.abc import Sequence

from heldout.views.base import make_view
from heldout.views.confusion import MemorizedImageView, MemorizedPage
from models.memorized import HardImages
from models.views.dataset import get_thumbnail_route

EXPLANATION = (
    "The images that were hardest to learn. A high sum of losses means that an image is hard, unlike the others of its "
    "class, or wrongly labelled: look at the first ones."
)
NOT_KEPT = (
    "This job kept no losses of its training images: it measured them at the end alone (evaluation.train: final), or "
    "an earlier release began it. Train it once more to see which images were hardest to learn."
)


def build_memorized_page(
    found: HardImages | None, classes: Sequence[str], dataset_id: str, after: int
) -> MemorizedPage:
    """One page of a job's training images.

    Args:
        found: None where no sums were kept.
        classes: their names, by position.
        dataset_id: of the dataset that the job has trained on.
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
