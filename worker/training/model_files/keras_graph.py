"""Which layer feeds which, in a Keras configuration: checked once, and then used by changes of a network. Pure JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from worker.ingest.rejection import clean_name
from worker.training.model_files.keras_parts import MODELS, iterate_parts
from worker.training.model_files.refusal import ModelRefused, make_damaged, make_too_large

# A layer's name and the number of its call. In a chain, the layer's place stands for its name.
Key = tuple[str | int, int]


@dataclass(frozen=True)
class Call:
    """One call of a layer. sources: the calls whose outputs it takes, in order; empty for inputs."""

    layer: dict[str, Any]
    sources: tuple[Key, ...]

    @property
    def kind(self) -> str:
        return str(self.layer["class_name"])

    @property
    def settings(self) -> dict[str, Any]:
        return self.layer["config"]


class Graph:
    """The calls of a Functional or Sequential model's layers, inputs first. Inner models are one layer each."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take `settings`, the `config` of the model's own configuration."""
        layers = settings["layers"]
        if "output_layers" in settings:
            found = {
                (layer["name"], number): Call(layer, tuple(_list_sources(node)))
                for layer in layers
                for number, node in enumerate(layer["inbound_nodes"] or [None])
            }
            self.ends = list_ends(settings, "output_layers")
        else:
            found = {(place, 0): Call(layer, ((place - 1, 0),) if place else ()) for place, layer in enumerate(layers)}
            self.ends = [(len(layers) - 1, 0)] if layers else []
        order = TopologicalSorter({key: call.sources for key, call in found.items()}).static_order()
        self.calls: dict[Key, Call] = {key: found[key] for key in order if key in found}
        self.consumers: dict[Key, list[Key]] = {key: [] for key in self.calls}
        for key, call in self.calls.items():
            for source in set(call.sources):
                self.consumers[source].append(key)

    def find_heads(self) -> tuple[set[Key], set[Key]]:
        """Find the last layers that set the number of output figures, and the calls after them."""
        heads, after = set[Key](), set[Key]()
        left = list(self.ends)
        while left:
            key = left.pop()
            if key in heads or key in after or key not in self.calls:
                continue
            call = self.calls[key]
            if sets_width(call.layer):
                heads.add(key)
            else:
                after.add(key)
                # Attention gives as many figures as its first input, the query.
                left += call.sources[:1] if call.kind in ATTENTION else call.sources
        return heads, after

    def find_main_path(self) -> set[Key]:
        """Find the calls that every way from an input to an output passes."""
        before = dict.fromkeys(self.calls, 0)
        behind = dict.fromkeys(self.calls, 0)
        for key, call in self.calls.items():
            starts = not call.sources and (call.kind == "InputLayer" or key == (0, 0))
            before[key] = int(starts) + sum(before.get(source, 0) for source in call.sources)
        for end in self.ends:
            behind[end] += 1
        for key, call in reversed(self.calls.items()):
            for source in call.sources:
                behind[source] += behind[key]
        ways = sum(before[end] for end in self.ends)
        return {key for key in self.calls if before[key] * behind[key] == ways}


# Arguments that set the number of a layer's output figures, by class.
WIDTHS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(["Conv1D", "Conv2D", "Conv2DTranspose", "SeparableConv1D", "SeparableConv2D"], ("filters",)),
    **dict.fromkeys(["Dense", "GRU", "LSTM", "SimpleRNN"], ("units",)),
    "EinsumDense": ("output_shape",),
    "Embedding": ("output_dim",),
}
ATTENTION = frozenset({"MultiHeadAttention", "GroupQueryAttention"})


def is_model(layer: Mapping[str, Any]) -> bool:
    return layer["class_name"] in MODELS.get(str(layer.get("module")), ())


def sets_width(layer: Mapping[str, Any]) -> bool:
    """Return whether the layer, or a layer inside it, sets the number of its output figures."""
    if is_model(layer):
        return any(sets_width(inner) for inner in layer["config"]["layers"])
    wrapped = layer["config"].get("layer")
    return sets_width(wrapped) if isinstance(wrapped, dict) else layer["class_name"] in WIDTHS


def iterate_tensors(value: Any) -> Iterator[dict[str, Any]]:
    """Outputs of other layers among the arguments of a call, in order; `keras_history` can be changed in place."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]
        else:
            for inner in value.values():
                yield from iterate_tensors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from iterate_tensors(inner)


def iterate_ends(value: Any) -> Iterator[list[Any]]:
    """Yield the `[layer, call, output]` of a model's inputs or outputs, in any structure, to be changed in place."""
    if isinstance(value, dict):
        value = list(value.values())
    if len(value) == 3 and isinstance(value[0], str):
        yield value
    else:
        for inner in value:
            yield from iterate_ends(inner)


def list_ends(settings: Mapping[str, Any], which: str) -> list[Key]:
    """List the calls that a Functional model's `input_layers` or `output_layers` name.

    There, and only there, Keras counts the calls of a Functional model inside from 1.
    """
    inner = {layer.get("name") for layer in settings["layers"] if layer["class_name"] == "Functional"}
    return [(end[0], end[1] - (end[0] in inner)) for end in iterate_ends(settings.get(which, []))]


def _list_sources(node: Any) -> list[Key]:
    return [(tensor["keras_history"][0], tensor["keras_history"][1]) for tensor in iterate_tensors(node)]


_FUNCTIONAL = MODELS["keras.src.models.functional"]
# EfficientNetV2L and NASNetLarge have 1,000. All that a check does takes 10 to 20 ms for each.
MAX_CALLS = 10_000
# EfficientNetV2L has 1,031. Of a chain without branches Keras builds even less, since it calls itself for each layer.
MAX_CHAIN = 2_000


def count_calls(config: Mapping[str, Any]) -> int:
    """Count how often Keras calls a layer to build a network and to answer one image.

    The layers of an inner network are called each time that it is called. Keras builds a Sequential network again for
    each layer that it adds.

    Args:
        config: the result of `read_network`.
    """
    building = sum(
        len(part["config"]["layers"]) ** 2 // 2
        for part in iterate_parts(config)
        if is_model(part) and part["class_name"] not in _FUNCTIONAL
    )
    return building + _count_answering(config)


def _count_answering(layer: Mapping[str, Any]) -> int:
    settings = layer["config"]
    if is_model(layer):
        return sum(len(inner.get("inbound_nodes") or [0]) * _count_answering(inner) for inner in settings["layers"])
    # `TimeDistributed` and `Bidirectional` call other layers.
    wrapped = [settings[name] for name in ("layer", "backward_layer") if isinstance(settings.get(name), dict)]
    return 1 + sum(map(_count_answering, wrapped))


def find_longest_chain(settings: Mapping[str, Any]) -> int:
    """Find the largest number of calls that follow each other in a network. Inner networks are one layer each."""
    lengths = dict[Key, int]()
    for key, call in Graph(settings).calls.items():
        lengths[key] = 1 + max((lengths[source] for source in call.sources), default=0)
    return max(lengths.values(), default=0)


def require_calls(config: dict[str, Any]) -> None:
    """Check every network in the result of `read_network`.

    Raises:
        ModelRefused: two layers have one name, a layer takes an output that does not exist, or its own, or Keras would
            call layers too often.
    """
    for part in iterate_parts(config):
        if part["class_name"] in _FUNCTIONAL:
            _require_calls_of(part["config"])
    networks = [part for part in iterate_parts(config) if is_model(part)]
    if (calls := count_calls(config)) > MAX_CALLS:
        largest = max(networks, key=lambda part: len(part["config"]["layers"]))
        raise make_too_large(
            f"Keras would call layers {calls:,} times to build the model and to answer one image; expected at most "
            f"{MAX_CALLS:,}. It consists of {len(networks):,} networks, of which {_name(largest)} has the most layers, "
            f"{len(largest['config']['layers']):,}. Call inner networks less often, and build long chains as "
            "`keras.Model(inputs, outputs)`: Keras builds a `Sequential` again for each of its layers."
        )
    for network in networks:
        if find_longest_chain(network["config"]) > MAX_CHAIN:
            raise make_chain_refusal(config)


def make_chain_refusal(config: Mapping[str, Any]) -> ModelRefused:
    """Refuse a network whose longest chain is too long for Keras."""
    chains = [(find_longest_chain(part["config"]), _name(part)) for part in iterate_parts(config) if is_model(part)]
    longest, name = max(chains)
    return make_too_large(
        f"In {name} {longest:,} layers follow each other; at most {MAX_CHAIN:,} are read, and Keras builds chains "
        "without branches only up to about 950. Leave out layers that change nothing, or group layers in inner "
        "networks."
    )


def _name(network: Mapping[str, Any]) -> str:
    return f"`{_clean(network['config'].get('name'))}` ({network['class_name']})"


def _require_calls_of(network: dict[str, Any]) -> None:
    calls = dict[str, range]()
    for layer in network["layers"]:
        name = layer.get("name")
        if not isinstance(name, str) or name in calls:
            raise _make_refusal(f"Two layers are named `{_clean(name)}`, or one has no name.")
        # An input has no call, and its output is that of call 0.
        calls[name] = range(max(1, len(layer.get("inbound_nodes", []))))
    waits_for = dict[tuple[str, int], set[tuple[str, int]]]()
    for layer in network["layers"]:
        name = layer["name"]
        for call, node in zip(calls[name], layer.get("inbound_nodes", []), strict=False):
            sources = [tensor["keras_history"] for tensor in iterate_tensors(node)]
            # The calls of one layer are made in order.
            waits_for[name, call] = {(name, call - 1)} if call - 1 in calls[name] else set()
            waits_for[name, call] |= {_find(source, calls, f"Layer `{_clean(name)}`") for source in sources}
    for end in (*list_ends(network, "input_layers"), *list_ends(network, "output_layers")):
        _find(end, calls, "The network")
    try:
        TopologicalSorter(waits_for).prepare()
    except CycleError as error:
        name = error.args[1][0][0]
        raise _make_refusal(f"Layer `{_clean(name)}` takes an output that depends on its own.") from error


def _find(source: Sequence[Any], calls: dict[str, range], taker: str) -> tuple[str, int]:
    name, call = source[0], source[1]
    if call not in calls.get(name, ()):
        raise _make_refusal(f"{taker} takes the output of call {call} of `{_clean(name)}`, which does not exist.")
    return name, call


def _clean(name: Any) -> str:
    return clean_name(str(name), 60)


def _make_refusal(what: str) -> ModelRefused:
    return make_damaged(f"{what} Build the model again, and save it.")
