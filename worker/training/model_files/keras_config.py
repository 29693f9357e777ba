"""Reads the config of an uploaded network by the registry of parts: the result contains nothing else.

Nothing is loaded here: Keras only gets the result.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from heldout.lifecycle.resources import ModelRejectionCode
from worker.ingest.rejection import clean_name
from worker.training.model_files.keras_graph import iterate_ends, require_calls
from worker.training.model_files.keras_parts import (
    ADVICE,
    ARGUMENTS,
    CONSTRAINTS,
    DTYPE,
    INITIALIZERS,
    LAYERS,
    MODELS,
    NAME,
    NUMBERS,
    POLICIES,
    POLICY_ARGUMENTS,
    REGULARIZERS,
    Classes,
    Rule,
    is_name,
    is_whole,
)
from worker.training.model_files.refusal import ModelRefused

MAX_PARTS = 20_000
MAX_DEPTH = 40  # of parts and lists inside each other; inner networks have their layers below them
# NASNetLarge has a thousand. Keras takes minutes to build much more, and each job would again.
MAX_LAYERS = 4_000
MAX_NUMBERS = 100_000  # of all lists and constants together

_KNOWN = (MODELS, LAYERS, INITIALIZERS, REGULARIZERS, CONSTRAINTS, POLICIES)
# What else than numbers and lists a layer is called with, and the values that each holds.
_PASSED = {
    "__keras_tensor__": ("shape", "dtype", "keras_history"),
    "__tensor__": ("value", "dtype"),
    "__numpy__": ("value", "dtype"),
    "__slice__": ("start", "stop", "step"),
    "__ellipsis__": (),
}


def read_network(config: Any) -> dict[str, Any]:
    """Read a network's config, keeping only what is listed here, for Keras to rebuild.

    How the network was trained (`compile_config`) is left out, at every depth.

    Args:
        config: as in a `.keras` file or `model.to_json()`.
    Raises:
        ModelRefused: it has something else; the message says what and where.
    """
    network = _Reading().read_part(config, (MODELS,), "the model")
    require_calls(network)
    for ends in {"input_layers", "output_layers"} & network["config"].keys():
        # The only image and the only answer, also where the program gave them in a list or by name.
        if len(all_ends := list(iterate_ends(network["config"][ends]))) == 1:
            network["config"][ends] = all_ends[0]
    return network


class _Reading:
    """One pass over a config, which counts what it holds. `place` describes the position of a value."""

    def __init__(self) -> None:
        self._parts = self._layers = self._numbers = self._depth = 0
        self._shared: dict[int, tuple[str, str]] = {}

    @contextmanager
    def _inside(self, place: str) -> Iterator[None]:
        """Count a part or a list while the block reads what is in it."""
        self._depth += 1
        if self._parts > MAX_PARTS or self._depth > MAX_DEPTH:
            raise _make_too_much(place, f"more than {MAX_PARTS:,} parts, or more than {MAX_DEPTH} inside each other")
        yield
        self._depth -= 1

    def read_part(self, value: Any, allowed: tuple[Classes, ...], place: str) -> dict[str, Any]:
        """Read an object of one of the `allowed` classes."""
        if not isinstance(value, dict):
            raise _make_unfit(place, value, "an object of Keras")
        module, name, settings = value.get("module"), value.get("class_name"), value.get("config")
        place = _describe_place(name, settings, place)
        self._require_listed(module, name, value.get("registered_name"), allowed, place)
        assert isinstance(module, str)
        assert isinstance(name, str)
        self._parts += 1
        with self._inside(place):
            if not isinstance(settings, dict):
                raise _make_unfit(place, settings, "an object with its arguments")
            if name in MODELS.get(module, ()):
                read = self._read_model(settings, place)
            else:
                rules = POLICY_ARGUMENTS if name in POLICIES.get(module, ()) else ARGUMENTS
                read = {key: self._read_argument(rules.get(key), key, settings[key], place) for key in settings}
            found = {"module": module, "class_name": name, "registered_name": None, "config": read}
            if (built := value.get("build_config")) is not None:
                found["build_config"] = self._read_shapes(built, place)
            if (shared := value.get("shared_object_id")) is not None:
                if not is_whole(shared, 0, 2**63) or self._shared.setdefault(shared, (module, name)) != (module, name):
                    raise _make_unfit(place, shared, "the number of a shared object, one for each")
                found["shared_object_id"] = shared
        return found

    def _require_listed(
        self, module: Any, name: Any, registered: Any, allowed: tuple[Classes, ...], place: str
    ) -> None:
        # Custom classes are registered as `package>name`, whatever their module says.
        is_own = isinstance(registered, str) and ">" in registered
        if not is_own and _is_listed(module, name, allowed):
            return
        if not is_own and _is_listed(module, name, _KNOWN):
            raise _make_unsafe(
                f"{_capitalize(place)} does not belong there. Save the model again with `model.save('model.keras')`."
            )
        last = str(name).rpartition(".")[2]
        if last in ADVICE:
            raise _make_unsafe(f"{_capitalize(place)} {ADVICE[last]}, and save the model again.")
        if isinstance(name, str) and "." in name:
            raise _make_unsafe(f"{_capitalize(place)} names a module inside the name of a class. Save the model again.")
        what = f"{_capitalize(place)} is not among the parts of Keras that a network for images needs. Build the same "
        what += "from layers of Keras and `keras.ops`."
        if allowed == (MODELS,):
            what = (
                f"The model is a `{clean_name(str(name), 60)}`, which the service does not have. Build it with "
                "`keras.Sequential` or `keras.Model(inputs, outputs)`. If your class passes inputs and outputs on, "
                "upload `keras.Model(model.inputs, model.outputs)`."
            )
        raise ModelRefused(ModelRejectionCode.CUSTOM_OBJECT, f"{what} To evaluate the model only, export it as ONNX.")

    # --- networks -----------------------------------------------------------------------------------

    def _read_model(self, settings: dict[str, Any], place: str) -> dict[str, Any]:
        if not isinstance(settings.get("layers"), list):
            raise _make_unfit(place, settings.get("layers"), "a list of layers")
        found: dict[str, Any] = {}
        for key, value in settings.items():
            if key == "layers":
                found[key] = [self._read_layer(layer, place) for layer in value]
            elif key in ("input_layers", "output_layers"):
                found[key] = self._read_ends(value, place)
            else:
                found[key] = self._read_argument(ARGUMENTS.get(key), key, value, place)
        return found

    def _read_layer(self, value: Any, place: str) -> dict[str, Any]:
        found = self.read_part(value, (LAYERS, MODELS), place)
        place = _describe_place(found["class_name"], found["config"], place)
        self._layers += 1
        if self._layers > MAX_LAYERS:
            raise _make_too_much(place, f"more than {MAX_LAYERS:,} layers")
        # A graph of layers says which layer calls which; a chain does not.
        if "inbound_nodes" in value:
            found["name"] = self._read_value(NAME, value.get("name"), place)
            nodes = value["inbound_nodes"]
            if not isinstance(nodes, list):
                raise _make_unfit(place, nodes, "a list of calls")
            found["inbound_nodes"] = [self._read_call(node, place) for node in nodes]
        return found

    def _read_call(self, node: Any, place: str) -> dict[str, Any]:
        if not isinstance(node, dict) or not isinstance(node.get("args"), list) or not _is_named(node.get("kwargs")):
            raise _make_unfit(place, node, "a call with `args` and `kwargs`")
        return {
            "args": self._read_passed(node["args"], place),
            "kwargs": {name: self._read_passed(value, place) for name, value in node["kwargs"].items()},
        }

    def _read_passed(self, value: Any, place: str) -> Any:
        """Read the arguments of a layer's call: outputs of other layers, numbers, and array indices."""
        if value is None or isinstance(value, bool | int | float):
            return self._read_value(NUMBERS, value, place)
        if isinstance(value, list):
            with self._inside(place):
                return [self._read_passed(item, place) for item in value]
        name, settings = (value.get("class_name"), value.get("config")) if isinstance(value, dict) else (None, None)
        if not isinstance(name, str) or name not in _PASSED or not isinstance(settings, dict):
            raise _make_unfit(place, value, "numbers and outputs of layers")
        readers = {
            "dtype": lambda held: self._read_value(DTYPE, held, place),
            "keras_history": lambda held: self._read_history(held, place),
            **dict.fromkeys(("shape", "value"), lambda held: self._read_value(NUMBERS, held, place)),
            **dict.fromkeys(_PASSED["__slice__"], lambda held: self._read_passed(held, place)),
        }
        return {"class_name": name, "config": {held: readers[held](settings.get(held)) for held in _PASSED[name]}}

    def _read_ends(self, value: Any, place: str) -> Any:
        """Read inputs or outputs of a network: `[layer, call, output]`, alone, in a list or by name."""
        if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
            return self._read_history(value, place)
        if isinstance(value, list):
            with self._inside(place):
                return [self._read_ends(item, place) for item in value]
        if _is_named(value):
            with self._inside(place):
                return {name: self._read_ends(item, place) for name, item in value.items()}
        raise _make_unfit(place, value, "inputs and outputs of the network")

    def _read_history(self, value: Any, place: str) -> list[Any]:
        if (
            isinstance(value, list)
            and len(value) == 3
            and is_name(value[0])
            and all(is_whole(number, 0, MAX_PARTS) for number in value[1:])
        ):
            return [*value]
        raise _make_unfit(place, value, "the output of a layer")

    def _read_shapes(self, value: Any, place: str) -> Any:
        """Read the shapes that a layer is built with, alone or by name."""
        if _is_named(value):
            with self._inside(place):
                return {name: self._read_shapes(item, place) for name, item in value.items()}
        return self._read_value(NUMBERS, value, place)

    # --- values -------------------------------------------------------------------------------------

    def _read_argument(self, rule: Rule | None, name: str, value: Any, place: str) -> Any:
        if rule is None:
            raise _make_unsafe(
                f"{_capitalize(place)} has an argument `{clean_name(name, 60)}`, which is not accepted. Build the "
                "layer without it."
            )
        is_function = isinstance(value, dict) and value.get("class_name") == "function"
        if is_function and value.get("module") in ("builtins", "keras.activations") and value.get("config") is not None:
            value = value["config"]  # the function's name
        return self._read_value(rule, value, f"argument `{name}` of {place}")

    def _read_value(self, rule: Rule, value: Any, place: str) -> Any:
        if rule.in_lists and isinstance(value, list):
            with self._inside(place):
                return [self._read_value(rule, item, place) for item in value]
        self._numbers += rule.in_lists
        if self._numbers > MAX_NUMBERS:
            raise _make_too_much(place, f"more than {MAX_NUMBERS:,} numbers in arguments")
        if value is None or rule.fits(value):
            return value
        if rule.classes and isinstance(value, dict):
            return self.read_part(value, rule.classes, place)
        raise _make_unfit(place, value, rule.expected)


def _is_listed(module: Any, name: Any, lists: tuple[Classes, ...]) -> bool:
    is_text = isinstance(module, str) and isinstance(name, str)
    return is_text and any(name in classes.get(module, ()) for classes in lists)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_name, value))


def _describe_place(name: Any, settings: Any, otherwise: str) -> str:
    """Describe a part for people: "layer `conv1` (Conv2D)"."""
    own = settings.get("name") if isinstance(settings, dict) else None
    kind = clean_name(str(name), 60)
    return f"layer `{clean_name(own, 60)}` ({kind})" if isinstance(own, str) else f"`{kind}` in {otherwise}"


def _capitalize(place: str) -> str:
    return place[:1].upper() + place[1:]


def _make_unsafe(detail: str) -> ModelRefused:
    return ModelRefused(ModelRejectionCode.UNSAFE_MODEL, detail)


def _make_unfit(place: str, value: Any, expected: str) -> ModelRefused:
    try:
        shown = clean_name(json.dumps(value)[:400], 80)
    except (ValueError, RecursionError):
        shown = "something else"
    return _make_unsafe(f"{_capitalize(place)} is {shown}; expected {expected}. Save the model again.")


def _make_too_much(place: str, what: str) -> ModelRefused:
    return _make_unsafe(f"{_capitalize(place)} is where the model has {what}. Build it from fewer parts.")
