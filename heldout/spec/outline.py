"""A network's layers in order, with the settings that a check of them needs."""

from typing import Annotated

from pydantic import Field

from heldout.spec.part import SpecPart

# A network with more steps is not outlined, because it would fill a row of the database.
MAX_STEPS = 1000

# Without backticks, which mark code in texts about them.
Name = Annotated[str, Field(max_length=100, pattern="^[^`]*$")]
Sizes = Annotated[tuple[int, ...], Field(strict=False)]


class NetworkStep(SpecPart):
    """One layer or operation.

    sources: places of the steps whose outputs it takes; empty for the first. is_map: whether it gives a map of an
    image. is_shared: whether it is called several times; `sources` are those of the first call.
    kernel, strides: in pixels, the larger of both axes, with gaps of dilated kernels; 0 for layers without a window.
    weights: the shape of its largest weight. initializer: of that weight, by Keras' name. deviation: the standard
    deviation of its fresh values, if the initializer's settings name one, and 0 for constants.
    rate: of dropout. momentum: of batch normalization. l1, l2: factors of its penalty. scale: of a `Rescaling`.
    is_grouped: a depthwise convolution, or one with groups.
    """

    name: Name
    type: Name
    sources: Sizes = ()
    is_map: bool = False
    is_shared: bool = False
    activation: Name = "linear"
    kernel: int = 0
    strides: int = 1
    weights: Sizes = ()
    initializer: Name = ""
    deviation: float | None = None
    is_trained: bool = True
    is_grouped: bool = False
    rate: float = 0.0
    momentum: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    scale: float | None = None


Outline = tuple[NetworkStep, ...]
