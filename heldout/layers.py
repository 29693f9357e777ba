"""The layers that a network spec stands for: shapes, parameters and cost, counted without Keras."""

from dataclasses import dataclass
from math import prod

from heldout.errors import NetworkTooDeep
from heldout.spec import BlockSpec, NetworkSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One Keras layer: its name, output shape without the batch axis, parameters, and FLOPs of one image forward."""

    name: str
    shape: Shape
    parameters: int
    flops: int


def plan_layers(network: NetworkSpec, image: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    """The layers in order, named as the worker names them in Keras.

    Args:
        image: (height, width, channels) of one image.
        classes: units of the output layer, at least 2.
    Raises:
        NetworkTooDeep: if a block's map shrinks below 1×1; names the block, the layer and the size left.
    """
    layers: list[Layer] = []
    shape: Shape = image
    for index, block in enumerate(network.blocks):
        added = _block_layers(index, block, (shape[0], shape[1], shape[2]))
        layers += added
        shape = layers[-1].shape
    layers.append(_head_layer(network, shape))
    for index, dense in enumerate(network.dense):
        layers.append(_dense_layer(f"dense{index + 1}", layers[-1].shape[0], dense.units))
        if dense.dropout:
            layers.append(Layer(f"dense{index + 1}_dropout", layers[-1].shape, 0, dense.units))
    layers.append(_dense_layer("output", layers[-1].shape[0], classes))
    return tuple(layers)


def count_parameters(network: NetworkSpec, image: tuple[int, int, int], classes: int) -> int:
    """What `keras.Model.count_params()` gives for the same network (batch normalisation's averages included)."""
    return sum(layer.parameters for layer in plan_layers(network, image, classes))


def flops_per_image(layers: tuple[Layer, ...]) -> int:
    """Floating-point operations of one image's forward pass; a multiply-add counts as two."""
    return sum(layer.flops for layer in layers)


def memory_bytes(
    layers: tuple[Layer, ...], image: tuple[int, int, int], batch_size: int, *, mixed: bool = False
) -> int:
    """A training step's memory: weights, gradients and two optimizer slots; activations and their gradients.

    In mixed precision activations take two bytes instead of four, and so does a copy of the weights.
    """
    parameters = sum(layer.parameters for layer in layers)
    activations = 2 * batch_size * sum(prod(layer.shape) for layer in layers)
    images = 2 * batch_size * prod(image)
    of_parameters, of_activations = (4 * 4 + 2, 2) if mixed else (4 * 4, 4)
    return of_parameters * parameters + of_activations * activations + 4 * images


def _block_layers(index: int, block: BlockSpec, image: tuple[int, int, int]) -> list[Layer]:
    height, width, channels = image
    layers: list[Layer] = []
    prefix = f"block{index + 1}"
    size = block.kernel_size
    for repeat in range(1, block.repeat + 1):
        if block.padding == "valid":
            if min(height, width) < size:
                raise NetworkTooDeep(index, f"the {size}×{size} convolution {repeat}", (height, width), size)
            height, width = height - size + 1, width - size + 1
        shape = (height, width, block.filters)
        weights = size * size * channels * block.filters
        layers.append(
            Layer(f"{prefix}_conv{repeat}", shape, weights + block.filters, 2 * weights * height * width + prod(shape))
        )
        if block.batch_norm:
            layers.append(Layer(f"{prefix}_norm{repeat}", shape, 4 * block.filters, 2 * prod(shape)))
        layers.append(Layer(f"{prefix}_activation{repeat}", shape, 0, prod(shape)))
        channels = block.filters
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


def _head_layer(network: NetworkSpec, shape: Shape) -> Layer:
    if network.head == "global_average":
        return Layer("global_average", (shape[2],), 0, prod(shape))
    return Layer("flatten", (prod(shape),), 0, 0)


def _dense_layer(name: str, inputs: int, units: int) -> Layer:
    return Layer(name, (units,), (inputs + 1) * units, 2 * inputs * units + units)
