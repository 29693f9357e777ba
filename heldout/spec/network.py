"""The part of a job spec that describes the network."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

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

    @property
    def uploaded_model(self) -> str | None:
        """The uploaded model that the network needs."""
        return None if self.backbone is None else self.backbone.model

    @property
    def starts_from_upload(self) -> bool:
        """Whether some of its weights come from an uploaded model."""
        return self.backbone is not None

    def get_penalty(self, block: BlockSpec) -> float:
        """The L2 factor for the convolutions of `block`."""
        return self.l2 if block.l2 is None else block.l2


LayerName = Annotated[str, Field(min_length=1, max_length=200)]


class OwnNetworkSpec(SpecPart):
    """An uploaded Keras model as the whole network, from images to one figure per class."""

    model: str = Field(max_length=40, description="`mod_…`, of the same owner.")
    weights: Literal["fresh", "uploaded"] = Field(
        "fresh", description="`fresh`: drawn from each layer's own initializers by the job's seed."
    )
    head: Literal["keep", "replace"] = Field(
        "keep",
        description="`replace`: the last dense layer is made anew with the dataset's classes. After a feature map, "
        "global average pooling and a dense layer are added.",
    )
    pixels: Pixels | None = Field(
        None,
        description="Pixel values that the model expects, as for a backbone. null: `bytes` for a model that scales "
        "pixels itself, otherwise `unit`.",
    )
    trainable: bool = Field(True, description="false: only a replaced head is trained. Needs `uploaded` weights.")
    freeze: LayerName | Annotated[int, Field(ge=1, le=20_000)] | None = Field(
        None,
        description="The name of a layer, or a number of layers: everything up to it is not trained. Needs `uploaded` "
        "weights.",
    )
    dropout: DropoutRate = Field(0.0, description="Dropout added after pooling layers and before the output.")
    l2: Penalty = Field(
        0.0, description="L2 factor for the kernels of convolutions and dense layers that have no penalty of their own."
    )
    width: float = Field(1.0, ge=0.5, le=1, description="1, or 0.5: all filters and units but the last are halved.")

    # So that code for blocks finds none.
    backbone: ClassVar[None] = None
    blocks: ClassVar[tuple[BlockSpec, ...]] = ()
    dense: ClassVar[tuple[DenseSpec, ...]] = ()

    @field_validator("trainable", "freeze")
    @classmethod
    def _check_has_weights(cls, value: Any, info: ValidationInfo) -> Any:
        if value not in (True, None) and info.data.get("weights") == "fresh":
            raise ValueError("layers with `fresh` weights are all trained; set `weights` to `uploaded`")
        return value

    @field_validator("width")
    @classmethod
    def _check_width(cls, width: float, info: ValidationInfo) -> float:
        if width not in (0.5, 1):
            raise ValueError(f"received {width:g}; expected 1 or 0.5")
        if width != 1 and info.data.get("weights") == "uploaded":
            raise ValueError("`uploaded` weights only fit the whole width; set `weights` to `fresh`")
        return width

    @property
    def uploaded_model(self) -> str:
        """The uploaded model that the network needs."""
        return self.model

    @property
    def starts_from_upload(self) -> bool:
        """Whether its weights come from the uploaded model."""
        return self.weights == "uploaded"


# Names of the two kinds in the validator's locations; they must not be names of fields (`list_field_errors`).
_OF_BLOCKS, _OWN = "network of blocks", "own network"


def _get_kind(network: Any) -> str:
    is_own = isinstance(network, OwnNetworkSpec) or (isinstance(network, dict) and "model" in network)
    return _OWN if is_own else _OF_BLOCKS


AnyNetworkSpec = Annotated[
    Annotated[NetworkSpec, Tag(_OF_BLOCKS)] | Annotated[OwnNetworkSpec, Tag(_OWN)], Discriminator(_get_kind)
]
