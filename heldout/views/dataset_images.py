"""Images of a dataset, as a page of a contact sheet."""

from pydantic import Field

from heldout.stored.evaluation import SplitName
from heldout.views.base import View
from heldout.views.page import NumberedPage


class DatasetImageView(View):
    """One image: its place, what it shows, and the route of its thumbnail."""

    index: int = Field(description="Its position in the dataset.")
    split: SplitName
    label: str = Field(description="A name in `classes`.")
    member: str | None = Field(description="Its name in the upload; null where it has none.")
    thumbnail: str


class DatasetImagePage(NumberedPage[DatasetImageView]):
    """Part of a split's images, in the source's order; `next` is the `after` of the following part."""

    count: int = Field(description="Images of the split, or of one class of it, in all.")
