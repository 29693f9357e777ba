"""The training images that were hardest to learn."""

from pydantic import Field

from heldout.views.base import View
from heldout.views.page import NumberedPage


class MemorizedImageView(View):
    """A training image and how hard it was to learn."""

    index: int = Field(description="Its position in the dataset.")
    member: str | None = Field(description="Its name in the upload; null where it has none.")
    thumbnail: str = Field(description="The route of its picture.")
    label: str
    answer: str = Field(description="What the kept weights answer.")
    loss_sum: float = Field(description="Its cross-entropy after each epoch, summed over all epochs, in nats.")
    loss_mean: float = Field(description="The same for each epoch: `loss_sum` / `epochs`.")


class MemorizedPage(NumberedPage[MemorizedImageView]):
    """Training images, the hardest to learn first; `next` is the `after` of the following part."""

    explanation: str
    epochs: int | None = Field(
        description="Over how many epochs losses were summed; null where none were, as with `evaluation.train: final` "
        "and in jobs of earlier releases."
    )
    count: int | None = Field(description="Training images, or those of one class, in all; null where `epochs` is.")
