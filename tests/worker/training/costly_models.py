"""Small architectures that cost much: what their checks would compute grows much faster than their files."""

from typing import Any

Config = dict[str, Any]


def layer(kind: str, name: str, **arguments: Any) -> Config:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, **arguments},
        "registered_name": None,
        "name": name,
    }


def call(source: str, number: int = 0) -> Config:
    held = {"shape": [None], "dtype": "float32", "keras_history": [source, number, 0]}
    return {"args": [{"class_name": "__keras_tensor__", "config": held}], "kwargs": {}}


def network(name: str, *layers: Config, end: tuple[str, int]) -> Config:
    """Make a functional network of images; `layers` have their calls."""
    images = layer("InputLayer", "images", batch_shape=[None, 8, 8, 3]) | {"inbound_nodes": []}
    config = {
        "name": name,
        "layers": [images, *layers],
        "input_layers": [["images", 0, 0]],
        "output_layers": [[end[0], end[1], 0]],
    }
    functional = "keras.src.models.functional"
    return {"module": functional, "class_name": "Functional", "config": config, "registered_name": None, "name": name}


def make_sequence(length: int) -> Config:
    """Make a Sequential network that ends in this many activations. With 3,900 it has 0.5 MB."""
    layers = [layer("InputLayer", "images", batch_shape=[None, 8, 8, 3]), layer("Flatten", "flat")]
    layers += [layer("Dense", "dense", units=3)]
    layers += [layer("Activation", f"activation_{number}", activation="linear") for number in range(length)]
    config = {"name": "network", "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def make_chain(length: int) -> Config:
    """Make a functional network of the same layers."""
    names = ["images", *(inner["name"] for inner in make_sequence(length)["config"]["layers"][1:])]
    layers = make_sequence(length)["config"]["layers"][1:]
    linked = [inner | {"inbound_nodes": [call(before)]} for inner, before in zip(layers, names[:-1], strict=True)]
    return network("chain", *linked, end=(names[-1], 0))


def make_nested(depth: int, calls: int) -> Config:
    """Make networks in each other, each of which calls the next this often. 10 and 10 have 20 KB."""
    inner = layer("ReLU", "relu")
    for number in range(depth):
        name = inner["name"]
        inner["inbound_nodes"] = [call("images"), *(call(name, earlier) for earlier in range(calls - 1))]
        # Keras counts the calls of an inner functional network from 1 where outputs are named.
        inner = network(f"network_{number}", inner, end=(name, calls - 1 + (number > 0)))
    name = inner["name"]
    flat = layer("Flatten", "flat") | {"inbound_nodes": [call(name)]}
    dense = layer("Dense", "dense", units=3) | {"inbound_nodes": [call("flat")]}
    return network("outer", inner | {"inbound_nodes": [call("images")]}, flat, dense, end=("dense", 0))


def make_slow() -> Config:
    """Make a network of few layers whose answer to one image takes minutes."""
    images = layer("InputLayer", "images", batch_shape=[None, 300, 300, 3])
    layers = [layer("Conv2D", "first", filters=700, kernel_size=1)]
    layers += [layer("Conv2D", f"conv_{number}", filters=700, kernel_size=3, padding="same") for number in range(9)]
    layers += [layer("GlobalAveragePooling2D", "pool"), layer("Dense", "dense", units=3)]
    config = {"name": "slow", "layers": [images, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
