"""The result of an evaluation of an uploaded model, stored and returned in the same form."""

from pydantic import Field

from heldout.stored.file import StoredPart
from heldout.stored.final import GapsView, SplitResult


class SplitsResult(StoredPart):
    """A model's results on each split; null if the split has no images."""

    train: SplitResult
    validation: SplitResult | None
    test: SplitResult | None
    gap: GapsView


class Preprocessing(StoredPart):
    """The change to the dataset's pixels that the model needs.

    It is `factor × pixel + offset`, channel by channel, after reversing the channels if `reversed_channels`.
    """

    kind: str = Field(
        description="`unit`: pixels from 0 to 1. `symmetric`: from −1 to 1. `bytes`: from 0 to 255. `standardised`: "
        "mean 0 and standard deviation 1 over the training images. `imagenet`: standardized with ImageNet's mean and "
        "standard deviation. `caffe`: from 0 to 255, minus ImageNet's means. `inverted`: light and dark swapped. "
        "`inverted_unit`: the same, from 0 to 1. `as_given`: values unchanged, channels reversed."
    )
    reversed_channels: bool
    factor: tuple[float, ...]
    offset: tuple[float, ...]
    value_range: tuple[float, float] = Field(description="Lowest and highest pixel value of the dataset.")
    in_words: str = Field(description="`pixels from 0 to 1`, `channels in the order blue, green, red`.")


class Measurement(StoredPart):
    """Results of a model with the pixel values that it expects.

    preprocessing, as_given: the pixel change that was needed, and the results without it; null if none was needed.
    """

    metrics: SplitsResult
    preprocessing: Preprocessing | None = None
    as_given: SplitsResult | None = None
