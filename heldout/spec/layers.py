"""The plan of a network: its layers with their shapes, parameters and cost, counted without Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

from heldout.errors import NetworkTooDeep
from heldout.spec.backbone import Backbone, require_fit
from heldout.spec.network import AnyNetworkSpec, BlockSpec, NetworkSpec, Normalization, OwnNetworkSpec

Shape = tuple[int, ...]
Image = tuple[int, int, int]


# The name of the layer that contains a whole backbone. Layers that adapt images to it have names that begin with this.
BACKBONE = "backbone"
# The same for an uploaded model that is the whole network.
OWN = "network"
UPLOADED = (BACKBONE, OWN)


@dataclass(frozen=True)
class Layer:
    """One Keras layer: its name, output shape without the batch axis, parameters, and FLOPs per image.

    weights: the shapes of its weights in Keras' order; empty for a backbone.
    fixed: number of parameters that gradients never change.
    """

    name: str
    shape: Shape
    parameters: int
    flops: int
    weights: tuple[Shape, ...] = ()
    fixed: int = 0

    @property
    def is_before_blocks(self) -> bool:
        """Whether it is the backbone, or adapts images to the backbone."""
        return self.name.startswith(BACKBONE)

    def is_in_first(self, blocks: int) -> bool:
        """Return whether it belongs to one of the first `blocks` blocks."""
        return self.name.startswith(tuple(f"block{index + 1}_" for index in range(blocks)))

    def find_block(self, network: AnyNetworkSpec) -> BlockSpec:
        """Find the block that it belongs to."""
        return network.blocks[int(self.name.partition("_")[0].removeprefix("block")) - 1]


@dataclass(frozen=True)
class NetworkPlan:
    """A network as built for one image shape (height, width, channels) and number of classes."""

    image: Image
    layers: tuple[Layer, ...]
    backbone: Backbone | None = None

    @cached_property
    def parameters(self) -> int:
        """The result of `keras.Model.count_params()`, including the averages of batch normalization."""
        return sum(layer.parameters for layer in self.layers)

    def trainable_parameters(self, frozen_blocks: int = 0) -> int:
        """Count the parameters trained if the first blocks are frozen, as Keras does."""
        trained = [layer for layer in self.layers if not layer.is_in_first(frozen_blocks)]
        return sum(layer.parameters - layer.fixed for layer in trained)

    @property
    def flops_per_image(self) -> int:
        """Floating-point operations of one image's forward pass; a multiply-add counts as two."""
        return sum(layer.flops for layer in self.layers)


def plan_network(network: AnyNetworkSpec, image: Image, classes: int, backbone: Backbone | None = None) -> NetworkPlan:
    """Plan the layers in order, with the names that the worker uses in Keras.

    Args:
        image: (height, width, channels) of one image.
        classes: units of the output layer, at least 2.
        backbone: the model that `network.backbone` or `network.model` names.
    Raises:
        InvalidSpec: if the uploaded network does not take such images.
        NetworkTooDeep: if a block's map shrinks below 1×1; names the block, the layer and the size left.
    """
    layers: list[Layer] = []
    shape: Shape = image
    if isinstance(network, OwnNetworkSpec):
        assert backbone is not None, "the caller must look up the uploaded network"
        require_fit(image, backbone, "/network")
        own = Layer(OWN, (classes,), backbone.parameters, backbone.flops, fixed=_count_fixed(backbone))
        return NetworkPlan(image, (*_plan_conversion(image, backbone, "images"), own), backbone)
    if network.backbone is not None:
        assert backbone is not None, "the caller must look up the backbone"
        layers += _plan_backbone_layers(network, image, backbone)
        shape = backbone.gives
    for index, block in enumerate(network.blocks):
        layers += _plan_block_layers(index, block, (shape[0], shape[1], shape[2]))
        shape = layers[-1].shape
    if network.head == "global_average":
        layers.append(Layer("global_average", (shape[2],), 0, prod(shape)))
    else:
        layers.append(Layer("flatten", (prod(shape),), 0, 0))
    for index, dense in enumerate(network.dense):
        layers.append(_plan_dense_layer(f"dense{index + 1}", layers[-1].shape[0], dense.units))
        if dense.dropout:
            layers.append(Layer(f"dense{index + 1}_dropout", layers[-1].shape, 0, dense.units))
    layers.append(_plan_dense_layer("output", layers[-1].shape[0], classes))
    return NetworkPlan(image, tuple(layers), backbone)


def count_normed_values(
    network: AnyNetworkSpec, layers: Sequence[Layer], factors: Mapping[Normalization, float]
) -> float:
    """Count the values of one image that are normalized, each times the factor of its kind of normalization."""
    return sum(
        prod(layer.shape) * factors[layer.find_block(network).normalization]
        for layer in layers
        if "_norm" in layer.name
    )


def _plan_backbone_layers(network: NetworkSpec, image: Image, backbone: Backbone) -> list[Layer]:
    """Plan the layers that adapt images to the backbone, then the backbone as one layer."""
    require_fit(image, backbone)
    is_trained = network.backbone is not None and network.backbone.trainable
    fixed = _count_fixed(backbone) if is_trained else backbone.parameters
    whole = Layer(BACKBONE, backbone.gives, backbone.parameters, backbone.flops, fixed=fixed)
    return [*_plan_conversion(image, backbone, BACKBONE), whole]


def _count_fixed(uploaded: Backbone) -> int:
    return uploaded.parameters - uploaded.trainable_parameters


def _plan_conversion(image: Image, uploaded: Backbone, prefix: str) -> list[Layer]:
    """Plan the layers that convert images to the size, channels and pixel values of an uploaded network."""
    (height, width, channels), shape = uploaded.takes, image
    layers = []
    if (height, width) != image[:2]:
        shape = (height, width, shape[2])
        layers.append(Layer(f"{prefix}_size", shape, 0, 8 * prod(shape)))  # interpolated from four neighbors
    if channels != shape[2]:
        shape = uploaded.takes
        layers.append(Layer(f"{prefix}_channels", shape, 0, 0))
    if uploaded.pixels == "caffe":
        layers.append(Layer(f"{prefix}_order", shape, 0, 0))
    if uploaded.pixels != "unit":
        layers.append(Layer(f"{prefix}_pixels", shape, 0, 2 * prod(shape)))
    return layers


def _plan_block_layers(index: int, block: BlockSpec, image: Image) -> list[Layer]:
    height, width, channels = image
    layers: list[Layer] = []
    prefix = f"block{index + 1}"
    size = block.kernel_size
    for repeat in range(1, block.repeat + 1):
        strides = block.strides if repeat == 1 else 1
        if block.padding == "valid":
            if min(height, width) < size:
                raise NetworkTooDeep(index, f"the {size}×{size} convolution {repeat}", (height, width), size)
            height, width = height - size + 1, width - size + 1
        height, width = ceil(height / strides), ceil(width / strides)
        shape = (height, width, block.filters)
        layers += _plan_convolution(f"{prefix}_conv{repeat}", f"{prefix}_norm{repeat}", block, size, channels, shape)
        channels = block.filters
        if block.residual and repeat == block.repeat:
            if block.needs_projection(image[2]):
                names = f"{prefix}_shortcut_conv", f"{prefix}_shortcut_norm"
                shortcut = _plan_convolution(*names, block, 1, image[2], shape)
                # Keras lists layers by their distance from the output.
                beside = zip(layers[-len(shortcut) :], shortcut, strict=True)
                layers[-len(shortcut) :] = [layer for both in beside for layer in both]
            layers.append(Layer(f"{prefix}_add", shape, 0, prod(shape)))
        layers.append(Layer(f"{prefix}_activation{repeat}", shape, 0, prod(shape)))
    if block.pool > 1:
        if min(height, width) < block.pool:
            raise NetworkTooDeep(index, f"the {block.pool}×{block.pool} pool", (height, width), block.pool)
        height, width = height // block.pool, width // block.pool
        shape = (height, width, channels)
        layers.append(Layer(f"{prefix}_pool", shape, 0, prod(shape) * block.pool**2))
    if block.dropout:
        shape = (height, width, channels)
        layers.append(Layer(f"{prefix}_dropout", shape, 0, prod(shape)))
    return layers


def _plan_convolution(
    name: str, norm_name: str, block: BlockSpec, size: int, channels: int, shape: Image
) -> list[Layer]:
    """Plan a convolution of the block, and the normalization of its result."""
    filters = block.filters
    weights = size * size * channels * filters
    flops = 2 * weights * shape[0] * shape[1] + prod(shape)
    layers = [Layer(name, shape, weights + filters, flops, ((size, size, channels, filters), (filters,)))]
    if block.normalization != "none":
        # Scale and offset; batch normalization has averages, too.
        count, fixed = (4, 2 * filters) if block.normalization == "batch" else (2, 0)
        layers.append(Layer(norm_name, shape, count * filters, 2 * prod(shape), ((filters,),) * count, fixed))
    return layers


def _plan_dense_layer(name: str, inputs: int, units: int) -> Layer:
    weights = ((inputs, units), (units,))
    return Layer(name, (units,), (inputs + 1) * units, 2 * inputs * units + units, weights)
