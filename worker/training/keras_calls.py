"""Checks which layer of a network calls which. Keras would search endlessly in a circle of layers."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from heldout.lifecycle.resources import ModelRejectionCode
from worker.ingest.rejection import clean_name
from worker.training.keras_graph import iterate_tensors, list_ends
from worker.training.keras_parts import MODELS, iterate_parts
from worker.training.refusal import ModelRefused

_FUNCTIONAL = MODELS["keras.src.models.functional"]


def require_calls(config: dict[str, Any]) -> None:
    """Check every network in the result of `read_network`.

    Raises:
        ModelRefused: two layers have one name, or a layer takes an output that does not exist, or its own.
    """
    for part in iterate_parts(config):
        if part["class_name"] in _FUNCTIONAL:
            _require_calls_of(part["config"])


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
    return ModelRefused(ModelRejectionCode.MODEL_DAMAGED, f"{what} Build the model again, and save it.")
