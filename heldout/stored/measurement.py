"""What an evaluation has measured of an uploaded model: its result, which is kept and answered as it is."""

from pydantic import Field

from heldout.stored.file import StoredPart
from heldout.stored.final import GapsView, SplitResult


class SplitsResult(StoredPart):
    """A model on each split; null where the split has no images."""

    train: SplitResult
    validation: SplitResult | None
    test: SplitResult | None
    gap: GapsView


class Preprocessing(StoredPart):
    """What has to be done to the dataset's pixels before the model understands them.

    `factor × pixel + offset`, channel by channel, after the channels were reversed.
    """

    kind: str = Field(
        description="`unit`: pixels from 0 to 1. `symmetric`: from −1 to 1. `bytes`: from 0 to 255. `standardised`: "
        "mean 0 and spread 1 over the training images. `imagenet`: mean and spread of ImageNet. `caffe`: from 0 to "
        "255, less the means of ImageNet. `inverted`: light and dark swapped; `inverted_unit`: that, from 0 to 1. "
        "`as_given`: the values as they are, channels reversed."
    )
    reversed_channels: bool
    factor: tuple[float, ...]
    offset: tuple[float, ...]
    value_range: tuple[float, float] = Field(description="Lowest and highest pixel value of the dataset.")
    in_words: str = Field(description="`pixels from 0 to 1`, `channels in the order blue, green, red`.")


class Measurement(StoredPart):
    """Figures of a model with the pixels that it understands.

    preprocessing, as_given: what had to be done to the pixels, and the figures without it; null where nothing had to.
    """

    metrics: SplitsResult
    preprocessing: Preprocessing | None = None
    as_given: SplitsResult | None = None
