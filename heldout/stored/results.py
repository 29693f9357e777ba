"""Results of kept weights and of uploaded models, stored and answered alike, and what the file of a model says."""

import math
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from heldout.stored.file import StoredFile, StoredPart


def drop_not_finite(value: Any) -> Any:
    """Return `value`, or None if it is infinite or not a number, which JSON cannot represent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(drop_not_finite)]


class MetricResult(StoredPart):
    """A metric of one split."""

    value: Figure = Field(description="null if the split cannot have it.")
    interval: tuple[float, float] | None = Field(
        description="95% interval; conservative for `worst_class` and `worst_group`. null if there are too few images."
    )
    why: str | None = Field(None, description="Why there is no value, or no interval.")


class SplitResult(StoredPart):
    """The kept weights on one split."""

    loss: Figure
    accuracy: float
    count: int
    interval: tuple[float, float] = Field(description="95% Wilson interval of the accuracy, as fractions.")
    metrics: dict[str, MetricResult] = Field(
        {}, description="All other metrics by name, such as `balanced_accuracy`; empty in results of earlier releases."
    )


class GapView(StoredPart):
    """The gap between training and held-out figures; positive if held-out is worse."""

    accuracy: Figure
    loss: Figure


class GapsView(StoredPart):
    """The gap to each held-out split; null if not measured."""

    validation: GapView | None
    test: GapView | None


class SplitsResult(StoredPart):
    """A model's results on each split; null if the split has no images."""

    train: SplitResult
    validation: SplitResult | None
    test: SplitResult | None
    gap: GapsView


class FinalView(SplitsResult):
    """Results of the kept weights: those of the best epoch with `restore_best`, otherwise of the last epoch.

    validation: null if the job trained on the validation images. test: null if it was not measured.
    """

    epoch: int


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


# Name of the model card in files that have named members.
CARD_FILE = "MODEL_CARD.md"
# In the `.keras` file of a training: the layers of its own network, for `keras.models.model_from_json`.
NETWORK_FILE = "network.json"


class ModelAbout(StoredFile):
    """Facts about a model that its users need.

    job_id: the training, or the study whose ensemble it is.
    dataset_sha256: address of the dataset's content; empty if unknown.
    weights_sha256: digest of all weights as float32, little-endian, in Keras' order; the same in every format.
    classes: names in the order of the probabilities. shape: (height, width, channels) of one image.
    range: lowest and highest pixel value that the model expects.
    """

    file_name: ClassVar[str] = "heldout.json"

    job_id: str
    dataset_sha256: str
    weights_sha256: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    range: tuple[float, float]
    input: str = "raw pixels, (batch, height, width, channels) float32, any batch size"
    output: str = "probabilities, (batch, classes) float32"
