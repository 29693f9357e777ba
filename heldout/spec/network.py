"""The part of a job spec that describes the network."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from heldout.spec.part import SpecPart

MAX_BLOCKS = 64
# The filters of more blocks than these are not listed in names and sentences.
MAX_LISTED_BLOCKS = 8
# As in the paper on group normalization (Wu and He 2018), but with fewer groups if these would be smaller than this.
MAX_GROUPS, MIN_FILTERS_A_GROUP = 32, 4

# Sizes at which a backbone that takes images of any size can compute.
SIZE_STEP, MAX_SIZE = 32, 512

Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]
DropoutRate = Annotated[float, Field(ge=0, lt=1, description="Share of units dropped during training.")]
Penalty = Annotated[float, Field(ge=0, le=1, description="Factor of the L2 penalty.")]
Normalization = Literal["none", "batch", "layer", "group"]
# Pixel values that a backbone was trained with.
Pixels = Literal["bytes", "unit", "symmetric", "imagenet", "caffe"]


class BlockSpec(SpecPart):
    """`repeat` convolutions, each with optional normalization and its activation; then pool; then dropout."""

    filters: int = Field(ge=1, le=1024)
    kernel_size: int = Field(3, ge=1, le=11)
    padding: Literal["valid", "same"] = Field(
        "valid", description="At the edge of the maps; a `residual` block only has `same`, its default."
    )
    strides: int = Field(1, ge=1, le=4, description="Strides of the block's first convolution.")
    activation: Activation = "relu"
    batch_norm: bool = Field(False, description="Batch normalization: the same as `norm: batch`.")
    norm: Normalization | None = Field(
        None,
        description="Normalization after each convolution. `batch`: over images and positions. `layer`: over the "
        "filters at each position. `group`: over positions and groups of filters, up to 32 groups of at least 4 "
        "filters. null: as `batch_norm` says, which also stores `batch` and `none`.",
    )
    residual: bool = Field(
        False,
        description="Add the block's input after its last convolution and normalization, before the last activation "
        "(He et al. 2015). If the shapes differ, a 1×1 convolution with `strides`, normalized like the others, "
        "converts the input.",
    )
    repeat: int = Field(1, ge=1, le=4)
    pool: int = Field(2, ge=1, le=4, description="Size and stride of the pooling; 1 means none.")
    pool_type: Literal["max", "average"] = Field("max", description="Which value of a window the pooling keeps.")
    dropout: DropoutRate = 0.0
    l2: Penalty | None = Field(
        None, description="L2 factor for the kernels of this block's convolutions; null = `network.l2`."
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        if filled.get("residual") is True and filled.get("padding") is None:
            filled["padding"] = "same"
        if filled.get("norm") == "batch" and filled.get("batch_norm") is None:
            filled["batch_norm"] = True
        return filled

    @field_validator("norm")
    @classmethod
    def _check_norm(cls, norm: Normalization | None, info: ValidationInfo) -> Normalization | None:
        is_batch = info.data.get("batch_norm")
        if norm is None or is_batch is None:  # a refused `batch_norm` has its own error
            return norm
        if (norm == "batch") != is_batch:
            raise ValueError(f"`batch_norm` is {str(is_batch).lower()} and `norm` {norm}; leave one of them out")
        # One way to store each, which earlier releases wrote, so that either field can be changed alone.
        return norm if norm in {"layer", "group"} else None

    @field_validator("residual")
    @classmethod
    def _check_keeps_size(cls, residual: bool, info: ValidationInfo) -> bool:
        if residual and info.data.get("padding") == "valid":
            raise ValueError("a residual block needs `padding: same`; received `valid`, which cuts off the edge")
        return residual

    @property
    def normalization(self) -> Normalization:
        """What normalizes the results of its convolutions."""
        return "batch" if self.batch_norm else self.norm or "none"

    @property
    def groups(self) -> int:
        """Into how many groups of filters `norm: group` divides."""
        possible = range(1, min(MAX_GROUPS, self.filters // MIN_FILTERS_A_GROUP) + 1)
        return max((groups for groups in possible if self.filters % groups == 0), default=1)

    def needs_projection(self, channels: int) -> bool:
        """Whether the input of a residual block, with this many channels, differs in shape from what it is added to."""
        return self.strides > 1 or channels != self.filters


class DenseSpec(SpecPart):
    """A dense layer between the head and the output."""

    units: int = Field(ge=1, le=4096)
    activation: Activation = "relu"
    dropout: DropoutRate = 0.0
    l2: Penalty | None = Field(None, description="L2 factor for the layer's kernel; null = 0.")


class UnfreezeSpec(SpecPart):
    """From which epoch on frozen layers are trained, too, and how fast."""

    epoch: int = Field(ge=2, le=1000, description="The first epoch in which all layers are trained.")
    learning_rate: float = Field(
        gt=0, le=1, description="Learning rate of the layers that were frozen; the schedule changes it in the same way."
    )
    layers: int | None = Field(
        None,
        ge=1,
        le=20_000,
        description="How many of the model's last layers are trained; the others stay frozen. null: all.",
    )


class BackboneSpec(SpecPart):
    """A Keras model whose feature map is the input of the blocks.

    Images are converted to the size, channels and pixel values that it expects.
    """

    model: str = Field(
        max_length=128,
        description="`mod_…`, of the same owner; or the name of a shared model, such as `efficientnet_lite0`.",
    )
    size: int | None = Field(
        None,
        ge=SIZE_STEP,
        le=MAX_SIZE,
        multiple_of=SIZE_STEP,
        description="Height and width to which images are resized, for a model that takes any. null: twice the "
        "size of the images, but from 64 to 224.",
    )
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
    unfreeze_at: UnfreezeSpec | None = Field(None, description="null: a frozen backbone stays frozen.")

    @field_validator("unfreeze_at")
    @classmethod
    def _check_is_frozen(cls, unfreezing: UnfreezeSpec | None, info: ValidationInfo) -> UnfreezeSpec | None:
        if unfreezing is not None and info.data.get("trainable"):
            raise ValueError("the backbone is trained from the first epoch on; set `trainable` to false")
        return unfreezing


class NetworkSpec(SpecPart):
    """An optional backbone, blocks in order, a head, dense layers, and an output with one unit per class."""

    backbone: BackboneSpec | None = None
    blocks: tuple[BlockSpec, ...] = Field(
        max_length=MAX_BLOCKS, strict=False, description="At least one, unless there is a backbone."
    )
    l2: Penalty = 0.0
    head: Literal["flatten", "global_average"] = "flatten"
    dense: tuple[DenseSpec, ...] = Field((), max_length=4, strict=False)

    @field_validator("blocks")
    @classmethod
    def _check_has_layers(cls, blocks: tuple[BlockSpec, ...], info: ValidationInfo) -> tuple[BlockSpec, ...]:
        if not blocks and "backbone" in info.data and info.data["backbone"] is None:
            raise ValueError(f"there is none; expected 1 to {MAX_BLOCKS}, or a `backbone`")
        return blocks

    @property
    def uploaded_model(self) -> str | None:
        """The uploaded model that the network needs."""
        return None if self.backbone is None else self.backbone.model

    def note_input(self, pixels: Pixels, size: int | None) -> "NetworkSpec":
        """Return this spec with the pixel values and the size that its backbone gets, if it leaves them open."""
        if self.backbone is None:
            return self
        chosen = {"pixels": self.backbone.pixels or pixels, "size": self.backbone.size or size}
        return self.model_copy(update={"backbone": self.backbone.model_copy(update=chosen)})

    @property
    def starts_from_upload(self) -> bool:
        """Whether some of its weights come from an uploaded model."""
        return self.backbone is not None

    @property
    def has_frozen_part(self) -> bool:
        """Whether the first layers are not trained."""
        return self.backbone is not None and not self.backbone.trainable

    @property
    def unfreezing(self) -> UnfreezeSpec | None:
        """When the frozen part is trained, too."""
        return None if self.backbone is None else self.backbone.unfreeze_at

    def get_penalty(self, block: BlockSpec) -> float:
        """Return the L2 factor for the convolutions of `block`."""
        return self.l2 if block.l2 is None else block.l2


LayerName = Annotated[str, Field(min_length=1, max_length=200)]


class OwnNetworkSpec(SpecPart):
    """An uploaded Keras model as the whole network, from images to one figure per class."""

    model: str = Field(max_length=128, description="`mod_…`, of the same owner; or the name of a shared model.")
    weights: Literal["fresh", "uploaded"] = Field(
        "fresh", description="`fresh`: drawn from each layer's own initializers by the job's seed."
    )
    head: Literal["keep", "replace"] = Field(
        "keep",
        description="`replace`: a dense layer with the dataset's classes replaces the last one. After a feature map, "
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
    unfreeze_at: UnfreezeSpec | None = Field(None, description="null: frozen layers stay frozen.")
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
        if value is not True and value is not None and info.data.get("weights") == "fresh":
            raise ValueError("layers with `fresh` weights are all trained; set `weights` to `uploaded`")
        return value

    @field_validator("unfreeze_at")
    @classmethod
    def _check_is_frozen(cls, unfreezing: UnfreezeSpec | None, info: ValidationInfo) -> UnfreezeSpec | None:
        if unfreezing is not None and info.data.get("trainable") and info.data.get("freeze") is None:
            raise ValueError("all layers are trained from the first epoch on; set `freeze`, or `trainable` to false")
        return unfreezing

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

    def note_input(self, pixels: Pixels, size: int | None) -> "OwnNetworkSpec":
        """Return this spec with the pixel values that the model gets, if it leaves them open."""
        return self if self.pixels is not None else self.model_copy(update={"pixels": pixels})

    @property
    def starts_from_upload(self) -> bool:
        """Whether its weights come from the uploaded model."""
        return self.weights == "uploaded"

    @property
    def has_frozen_part(self) -> bool:
        """Whether the first layers are not trained."""
        return not self.trainable or self.freeze is not None

    @property
    def unfreezing(self) -> UnfreezeSpec | None:
        """When the frozen part is trained, too."""
        return self.unfreeze_at


# Names of the two kinds in the validator's locations; they must not be names of fields (`list_field_errors`).
_OF_BLOCKS, _OWN = "network of blocks", "own network"


def _get_kind(network: Any) -> str:
    is_own = isinstance(network, OwnNetworkSpec) or (isinstance(network, dict) and "model" in network)
    return _OWN if is_own else _OF_BLOCKS


AnyNetworkSpec = Annotated[
    Annotated[NetworkSpec, Tag(_OF_BLOCKS)] | Annotated[OwnNetworkSpec, Tag(_OWN)], Discriminator(_get_kind)
]
