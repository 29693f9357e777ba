"""The part of a job spec that describes the network."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from heldout.spec.part import SpecPart

Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]
DropoutRate = Annotated[float, Field(ge=0, lt=1, description="Share of units dropped during training.")]
Penalty = Annotated[float, Field(ge=0, le=1, description="Factor of the L2 penalty.")]
# Pixel values that a backbone was trained with.
Pixels = Literal["bytes", "unit", "symmetric", "imagenet", "caffe"]


class BlockSpec(SpecPart):
    """`repeat` convolutions, each with optional batch normalization and its activation; then pool; then dropout."""

    filters: int = Field(ge=1, le=1024)
    kernel_size: int = Field(3, ge=1, le=11)
    padding: Literal["valid", "same"] = "valid"
    activation: Activation = "relu"
    batch_norm: bool = False
    repeat: int = Field(1, ge=1, le=4)
    pool: int = Field(2, ge=1, le=4, description="Size and stride of the max pooling; 1 means none.")
    dropout: DropoutRate = 0.0
    l2: Penalty | None = Field(
        None, description="L2 factor for the kernels of this block's convolutions; null = `network.l2`."
    )


class DenseSpec(SpecPart):
    """A dense layer between the head and the output."""

    units: int = Field(ge=1, le=4096)
    activation: Activation = "relu"
    dropout: DropoutRate = 0.0
    l2: Penalty | None = Field(None, description="L2 factor for the layer's kernel; null = 0.")


class BackboneSpec(SpecPart):
    """An uploaded Keras model whose feature map is the input of the blocks.

    Images are converted to the size, channels and pixel values that it expects.
    """

    model: str = Field(max_length=40, description="`mod_…`, of the same owner.")
    trainable: bool = Field(
        False,
        description="Whether the backbone is trained too; otherwise it stays fixed, batch normalization included.",
    )
    pixels: Pixels | None = Field(
        None,
        description="Pixel values that it was trained with. `bytes`: 0 to 255. `unit`: 0 to 1. `symmetric`: -1 to 1. "
        "`imagenet`: 0 to 1, minus ImageNet's mean, divided by its standard deviation. `caffe`: 0 to 255 in blue, "
        "green, red, minus ImageNet's mean. null: `bytes`, for a model that scales pixels itself.",
    )


class NetworkSpec(SpecPart):
    """An optional backbone, blocks in order, a head, dense layers, and an output with one unit per class."""

    backbone: BackboneSpec | None = None
    blocks: tuple[BlockSpec, ...] = Field(
        max_length=8, strict=False, description="At least one, unless there is a backbone."
    )
    l2: Penalty = 0.0
    head: Literal["flatten", "global_average"] = "flatten"
    dense: tuple[DenseSpec, ...] = Field((), max_length=4, strict=False)

    @field_validator("blocks")
    @classmethod
    def _check_has_layers(cls, blocks: tuple[BlockSpec, ...], info: ValidationInfo) -> tuple[BlockSpec, ...]:
        if not blocks and "backbone" in info.data and info.data["backbone"] is None:
            raise ValueError("there is none; expected 1 to 8, or a `backbone`")
        return blocks

    def get_penalty(self, block: BlockSpec) -> float:
        """The L2 factor for the convolutions of `block`."""
        return self.l2 if block.l2 is None else block.l2
