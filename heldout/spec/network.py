"""The part of a job spec that says what network is trained."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from heldout.spec.part import SpecPart

Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]
DropoutRate = Annotated[float, Field(ge=0, lt=1, description="Share of units dropped in training.")]
Penalty = Annotated[float, Field(ge=0, le=1, description="Factor of the L2 penalty.")]
# Values of the pixels that a backbone was trained with.
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
    l2: Penalty | None = Field(None, description="On the kernels of this block's convolutions; null = `network.l2`.")


class DenseSpec(SpecPart):
    """A dense layer between the head and the output."""

    units: int = Field(ge=1, le=4096)
    activation: Activation = "relu"
    dropout: DropoutRate = 0.0
    l2: Penalty | None = Field(None, description="On the layer's kernel; null = 0.")


class BackboneSpec(SpecPart):
    """An uploaded Keras model that gives a feature map, which the blocks take instead of the images.

    Images are brought to the size, the channels and the pixels that it takes.
    """

    model: str = Field(max_length=40, description="`mod_…`, of the same owner.")
    trainable: bool = Field(
        False, description="Whether all of it is trained along; else it stays as it is, batch normalization included."
    )
    pixels: Pixels | None = Field(
        None,
        description="What it was trained with: `bytes` 0 to 255, `unit` 0 to 1, `symmetric` -1 to 1, `imagenet` 0 to 1 "
        "less ImageNet's mean by its spread, `caffe` 0 to 255 in blue, green, red less ImageNet's mean. null: `bytes`, "
        "for a model that scales them by itself.",
    )


class NetworkSpec(SpecPart):
    """A backbone where there is one, blocks in order, a head, dense layers, and an output of one unit a class."""

    backbone: BackboneSpec | None = None
    blocks: tuple[BlockSpec, ...] = Field(
        max_length=8, strict=False, description="At least one, unless there is a backbone."
    )
    l2: Penalty = 0.0
    head: Literal["flatten", "global_average"] = "flatten"
    dense: tuple[DenseSpec, ...] = Field((), max_length=4, strict=False)

    @field_validator("blocks")
    @classmethod
    def _has_layers(cls, blocks: tuple[BlockSpec, ...], info: ValidationInfo) -> tuple[BlockSpec, ...]:
        if not blocks and "backbone" in info.data and info.data["backbone"] is None:
            raise ValueError("there is none; expected 1 to 8, or a `backbone`")
        return blocks

    def get_penalty(self, block: BlockSpec) -> float:
        """The L2 factor that holds for the convolutions of `block`."""
        return self.l2 if block.l2 is None else block.l2
