"""Changes of a network that someone else designed: dropout, penalties, half the width. Pure.

A configuration is JSON as `keras.saving.serialize_keras_object(model)` or the `config.json` of a `.keras` file has it,
read by `keras_config.read_network`. Every function returns a changed copy.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from worker.training.model_files.keras_graph import (
    ATTENTION,
    WIDTHS,
    Call,
    Graph,
    Key,
    is_model,
    iterate_ends,
    iterate_tensors,
    list_ends,
)
from worker.training.model_files.keras_parts import iterate_parts, split

Config = dict[str, Any]

_LOCAL_POOLS = split(
    """
    AdaptiveAveragePooling2D AdaptiveMaxPooling2D AveragePooling1D AveragePooling2D MaxPooling1D MaxPooling2D
    AdaptiveAveragePool AdaptiveMaxPool AveragePool MaxPool
    """
)
_GLOBAL_POOLS = split("GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D")
DROPOUTS = split("AlphaDropout Dropout GaussianDropout SpatialDropout1D SpatialDropout2D")
# Layers that pass each value on by itself: two dropouts around them are two in a row.
_PASSING = split(
    """
    Activation ELU ExpandDims Flatten Gelu Identity LeakyReLU Permute ReLU Relu Reshape Sigmoid Silu Squeeze Transpose
    """
)
_PENALIZED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(["Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "EinsumDense"], ("kernel_regularizer",)),
    **dict.fromkeys(ATTENTION, ("kernel_regularizer",)),
    **dict.fromkeys(["DepthwiseConv1D", "DepthwiseConv2D"], ("depthwise_regularizer",)),
    **dict.fromkeys(["SeparableConv1D", "SeparableConv2D"], ("depthwise_regularizer", "pointwise_regularizer")),
}


def add_dropout(config: Config, rate: float) -> Config:
    """Add dropout before the layer that gives the answers, and after pooling layers; never twice in a row.

    Two kinds of pooling get none. Pooling that keeps the size of a map is one branch of several, and the others drop
    nothing either. Global pooling in a branch (squeeze and excitation) weights channels, and would drop whole ones.
    """
    changed = deepcopy(config)
    _add_dropout_in(changed, rate, _list_names(changed), gives_answers=True)
    return changed


def add_l2(config: Config, factor: float) -> Config:
    """Add an L2 penalty to the kernels of convolutions and dense layers that have no penalty."""
    changed = deepcopy(config)
    for part in iterate_parts(changed):
        for argument in _PENALIZED.get(part["class_name"], ()):
            if not part["config"].get(argument):
                part["config"][argument] = {
                    "module": "keras.regularizers",
                    "class_name": "L2",
                    "config": {"l2": factor},
                    "registered_name": None,
                }
    return changed


def halve_width(config: Config) -> Config:
    """Halve all filters and units, except those of the layer that gives the answers.

    Attention keeps its heads, and each works on half as many figures. Groups of convolutions and normalizations keep
    their size where their number is even. Whether the layers still fit together is found by building them.
    """
    changed = deepcopy(config)
    for part in iterate_parts(changed):
        part.pop("build_config", None)  # it has the shapes of the whole width
    _halve_in(changed["config"], is_fed_half=False, gives_answers=True)
    return changed


def replace_head(config: Config, classes: int, *, gives_map: bool) -> Config:
    """Give a network another number of classes: in its last dense layer, or in new layers after a feature map.

    Args:
        gives_map: whether the network gives a feature map; global average pooling and a dense layer are added to it.
    """
    changed = deepcopy(config)
    if gives_map:
        _append_head(changed, classes)
        return changed
    for head in _list_heads(changed):
        if head["class_name"] == "Dense":
            head["config"]["units"] = classes
    return changed


def drops_out(config: Config) -> bool:
    """Return whether a network has dropout of its own."""
    return any(settings.get("rate" if kind in DROPOUTS else "dropout") for kind, settings in _iterate_settings(config))


def penalizes(config: Config) -> bool:
    """Return whether a network has penalties of its own."""
    return any(
        kind == "ActivityRegularization" or any(settings[name] for name in settings if name.endswith("_regularizer"))
        for kind, settings in _iterate_settings(config)
    )


def _iterate_settings(config: Config) -> Iterator[tuple[str, Config]]:
    return ((part["class_name"], part["config"]) for part in iterate_parts(config) if isinstance(part["config"], dict))


# --- another number of classes ----------------------------------------------------------------------


def _list_heads(model: Config) -> list[Config]:
    graph = Graph(model["config"])
    found = list[Config]()
    for key in graph.find_heads()[0]:
        layer = graph.calls[key].layer
        found += _list_heads(layer) if is_model(layer) else [layer]
    return found


def _append_head(model: Config, classes: int) -> None:
    settings = model["config"]
    taken = _list_names(model)
    drawn = {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None}}
    layers: dict[str, tuple[str, Config]] = {
        "head_pool": ("GlobalAveragePooling2D", {}),
        "head": ("Dense", {"units": classes, "kernel_initializer": drawn}),
    }
    for wanted, (kind, own) in layers.items():
        arguments = {"name": _make_name(wanted, taken), **own}
        layer = {"module": "keras.layers", "class_name": kind, "config": arguments, "registered_name": None}
        graph = Graph(settings)
        [end] = graph.ends
        _insert(settings, graph, end, layer)


# --- dropout ----------------------------------------------------------------------------------------


def _add_dropout_in(model: Config, rate: float, taken: set[str], *, gives_answers: bool) -> None:
    settings = model["config"]
    graph = Graph(settings)
    heads, after = graph.find_heads() if gives_answers else (set[Key](), set[Key]())
    main = graph.find_main_path()
    inner = {id(call.layer): (call.layer, key in heads) for key, call in graph.calls.items() if is_model(call.layer)}
    for layer, is_head in inner.values():
        _add_dropout_in(layer, rate, taken, gives_answers=is_head)
    pools = [
        key
        for key, call in graph.calls.items()
        if key not in after
        and (_shrinks_map(call) or (call.kind in _GLOBAL_POOLS and key in main))
        and not _is_followed_by_dropout(graph, key)
    ]
    dropouts = [(key, _make_dropout(graph.calls[key], rate, taken)) for key in pools]
    for key, layer in reversed(dropouts):  # from the back, so that places in a chain stay valid
        _insert(settings, graph, key, layer)
    graph = Graph(settings)
    heads = graph.find_heads()[0] if gives_answers else set()
    for key in sorted(heads, key=list(graph.calls).index, reverse=True):
        call = graph.calls[key]
        if not is_model(call.layer) and len(call.sources) == 1 and not _comes_from_dropout(graph, call.sources[0]):
            _insert(settings, graph, call.sources[0], _make_dropout(call, rate, taken), key)


def _shrinks_map(call: Call) -> bool:
    strides = call.settings.get("strides") or call.settings.get("pool_size")
    return call.kind in _LOCAL_POOLS and strides not in (1, [1], [1, 1])


def _is_followed_by_dropout(graph: Graph, key: Key) -> bool:
    left = list(graph.consumers[key])
    while left:
        key = left.pop()
        kind = graph.calls[key].kind
        if kind in DROPOUTS:
            return True
        if kind in _PASSING:
            left += graph.consumers[key]
    return False


def _comes_from_dropout(graph: Graph, key: Key) -> bool:
    call = graph.calls.get(key)
    while call is not None and call.kind in _PASSING and len(call.sources) == 1:
        call = graph.calls.get(call.sources[0])
    if call is not None and is_model(call.layer):
        inner = Graph(call.settings)
        return any(_comes_from_dropout(inner, end) for end in inner.ends)
    return call is not None and call.kind in DROPOUTS


def _make_dropout(beside: Call, rate: float, taken: set[str]) -> Config:
    name = _make_name(f"{str(_get_name(beside.layer))[:200]}_dropout", taken)
    settings = {"name": name, "trainable": True, "rate": rate, "seed": None, "noise_shape": None}
    if "dtype" in beside.settings:
        settings["dtype"] = deepcopy(beside.settings["dtype"])
    return {"module": "keras.layers", "class_name": "Dropout", "config": settings, "registered_name": None}


def _insert(settings: Config, graph: Graph, source: Key, layer: Config, taker: Key | None = None) -> None:
    """Insert a layer after a call: for one call that takes its output, or else for everything that does."""
    name, number = source
    if isinstance(name, int):
        settings["layers"].insert(name + 1, layer)
        return
    nodes = [
        node
        for other in settings["layers"]
        for place, node in enumerate(other["inbound_nodes"])
        if taker in (None, (other["name"], place))
    ]
    taken = [tensor for tensor in iterate_tensors(nodes) if tensor["keras_history"][:2] == [name, number]]
    # If only the end of the model takes it, no call tells the shape; Keras computes its own.
    given = deepcopy(taken[0]) if taken else {"shape": [None], "dtype": "float32", "keras_history": [name, number, 0]}
    call = {"args": [{"class_name": "__keras_tensor__", "config": given}], "kwargs": {}}
    layer |= {"name": layer["config"]["name"], "inbound_nodes": [call]}
    place = next(place for place, other in enumerate(settings["layers"]) if other is graph.calls[source].layer)
    settings["layers"].insert(place + 1, layer)
    for tensor in taken:
        tensor["keras_history"] = [layer["name"], 0, 0]
    if taker is None:
        ends = iterate_ends(settings["output_layers"])
        for end, key in zip(ends, list_ends(settings, "output_layers"), strict=True):
            if key == source:
                end[:] = [layer["name"], 0, 0]


def _list_names(config: Config) -> set[str]:
    return {part["config"]["name"] for part in iterate_parts(config) if isinstance(_get_name(part), str)}


def _make_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _get_name(part: Mapping[str, Any]) -> Any:
    return part["config"].get("name") if isinstance(part.get("config"), dict) else None


# --- half the width ---------------------------------------------------------------------------------


def _halve_in(settings: Config, *, is_fed_half: bool, gives_answers: bool) -> bool:
    """Halve the layers of a model, and return whether its output has half as many figures."""
    graph = Graph(settings)
    heads = graph.find_heads()[0] if gives_answers else set[Key]()
    if is_fed_half:
        settings.pop("build_input_shape", None)
    gives_half, done = dict[Key, bool](), dict[int, bool]()
    for key, call in graph.calls.items():
        is_fed = any(gives_half.get(source, False) for source in call.sources) if call.sources else is_fed_half
        if id(call.layer) not in done:  # a layer that is called twice is changed once
            done[id(call.layer)] = _halve_layer(call, is_fed, is_head=key in heads)
        gives_half[key] = done[id(call.layer)]
    return any(gives_half.get(end, False) for end in graph.ends)


def _halve_layer(call: Call, is_fed_half: bool, *, is_head: bool) -> bool:
    """Halve one layer, and return whether it gives half as many figures as before."""
    kind, settings = call.kind, call.settings
    if is_model(call.layer):
        return _halve_in(settings, is_fed_half=is_fed_half, gives_answers=is_head)
    if isinstance(settings.get("layer"), dict):  # a wrapper, such as `TimeDistributed`
        wrapped = [settings[name] for name in ("layer", "backward_layer") if isinstance(settings.get(name), dict)]
        give_half = [_halve_layer(Call(layer, call.sources), is_fed_half, is_head=is_head) for layer in wrapped]
        return any(give_half)
    if kind in ATTENTION:
        _halve_arguments(settings, "key_dim", "value_dim", "head_dim", "output_shape")
        return is_fed_half or bool(settings.get("output_shape"))
    if is_fed_half and kind == "GroupNormalization":
        settings.setdefault("groups", 32)
    if is_fed_half and (settings.get("groups") or 1) % 2 == 0:
        settings["groups"] //= 2
    if kind in WIDTHS:
        if not is_head:
            _halve_arguments(settings, *WIDTHS[kind])
        return not is_head
    if is_fed_half:
        # `Reshape` as a layer and as an operation, `LayerScale`, and the input of an inner model.
        _halve_arguments(settings, "target_shape", "newshape", "projection_dim", "batch_shape")
    return is_fed_half


def _halve_arguments(settings: Config, *names: str) -> None:
    for name in names:
        value = settings.get(name)
        if isinstance(value, list):
            wide = [place for place, size in enumerate(value) if isinstance(size, int) and size != 1]
            # A size of -1 at the end follows from the others.
            if wide and value[wide[-1]] > 1:
                value[wide[-1]] //= 2
        elif isinstance(value, int) and value > 1:
            settings[name] = value // 2
