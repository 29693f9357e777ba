"""Reads the config of an uploaded network by the registry of parts: the result contains nothing else.

Nothing is loaded here: Keras only gets the result.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from heldout.lifecycle.resources import ModelRejectionCode
from worker.ingest.rejection import clean_name
from worker.training.keras_graph import require_calls
from worker.training.keras_json import MAX_DEPTH, MAX_NAME, ConfigValues, capital, is_whole, too_much, unfit, unsafe
from worker.training.keras_parts import (
    ACTIVATION_LAYERS,
    ACTIVATIONS,
    ADVICE,
    CONSTRAINTS,
    DTYPES,
    INITIALIZERS,
    LAYERS,
    MODELS,
    POLICIES,
    REGULARIZERS,
    Classes,
    split,
)
from worker.training.refusal import ModelRefused

MAX_PARTS = 20_000
# NASNetLarge has a thousand. Keras takes minutes to build much more, and each job would again.
MAX_LAYERS = 4_000

_KNOWN = (MODELS, LAYERS, INITIALIZERS, REGULARIZERS, CONSTRAINTS, POLICIES)
_ANY_LAYER = (LAYERS, MODELS)


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
    return network


class _Reading(ConfigValues):
    """One pass over a config. `place` describes the position of a value."""

    def __init__(self) -> None:
        super().__init__()
        self._parts = self._layers = 0
        self._shared: dict[int, tuple[str, str]] = {}

    # --- objects ------------------------------------------------------------------------------------

    def read_part(self, value: Any, allowed: tuple[Classes, ...], place: str) -> dict[str, Any]:
        """Read an object of one of the `allowed` classes."""
        if not isinstance(value, dict):
            raise unfit(place, value, "an object of Keras")
        module, name, settings = value.get("module"), value.get("class_name"), value.get("config")
        place = _describe_place(name, settings, place)
        self._require_listed(module, name, value.get("registered_name"), allowed, place)
        assert isinstance(module, str)
        assert isinstance(name, str)
        self._parts += 1
        self._depth += 1
        if self._parts > MAX_PARTS or self._depth > MAX_DEPTH:
            raise too_much(place, f"more than {MAX_PARTS:,} parts, or more than {MAX_DEPTH} inside each other")
        if not isinstance(settings, dict):
            raise unfit(place, settings, "an object with its arguments")
        found: dict[str, Any] = {"module": module, "class_name": name, "registered_name": None}
        found["config"] = (
            self._read_model(settings, place)
            if name in MODELS.get(module, ())
            else {key: self._read_argument(key, argument, place) for key, argument in settings.items()}
        )
        if (built := value.get("build_config")) is not None:
            found["build_config"] = self._read_shapes(built, place)
        if (shared := value.get("shared_object_id")) is not None:
            found["shared_object_id"] = self._read_shared_id(shared, (module, name), place)
        self._depth -= 1
        return found

    def _require_listed(
        self, module: Any, name: Any, registered: Any, allowed: tuple[Classes, ...], place: str
    ) -> None:
        # Custom classes are registered as `package>name`, whatever their module says.
        is_own = isinstance(registered, str) and ">" in registered
        if not is_own and _is_listed(module, name, allowed):
            return
        if not is_own and _is_listed(module, name, _KNOWN):
            raise unsafe(
                f"{capital(place)} does not belong there. Save the model again with `model.save('model.keras')`."
            )
        last = str(name).rpartition(".")[2]
        if last in ADVICE:
            raise unsafe(f"{capital(place)} {ADVICE[last]}, and save the model again.")
        if isinstance(name, str) and "." in name:
            raise unsafe(f"{capital(place)} names a module inside the name of a class. Save the model again.")
        raise ModelRefused(
            ModelRejectionCode.CUSTOM_OBJECT,
            f"{capital(place)} is not among the parts of Keras that a network for images needs. Build the same from "
            "layers of Keras and `keras.ops`. To evaluate the model only, export it as ONNX.",
        )

    def _read_shared_id(self, value: Any, which: tuple[str, str], place: str) -> int:
        if not is_whole(value, 0, 2**63) or self._shared.setdefault(value, which) != which:
            raise unfit(place, value, "the number of a shared object, one for each")
        return int(value)

    # --- networks -----------------------------------------------------------------------------------

    def _read_model(self, settings: Mapping[str, Any], place: str) -> dict[str, Any]:
        listed = settings.get("layers")
        if not isinstance(listed, list):
            raise unfit(place, listed, "a list of layers")
        found = {
            key: self._read_argument(key, value, place)
            for key, value in settings.items()
            if key not in {"layers", "input_layers", "output_layers"}
        }
        found["layers"] = [self._read_layer(layer, place) for layer in listed]
        for key in ("input_layers", "output_layers"):
            if key in settings:
                found[key] = self._read_ends(settings[key], place)
        return found

    def _read_layer(self, value: Any, place: str) -> dict[str, Any]:
        found = self.read_part(value, _ANY_LAYER, place)
        self._layers += 1
        if self._layers > MAX_LAYERS:
            raise too_much(
                _describe_place(found["class_name"], found["config"], place), f"more than {MAX_LAYERS:,} layers"
            )
        # A graph of layers says which layer calls which; a chain does not.
        if "inbound_nodes" in value:
            place = _describe_place(found["class_name"], found["config"], place)
            found["name"] = self.read_name(value.get("name"), place)
            nodes = value["inbound_nodes"]
            if not isinstance(nodes, list):
                raise unfit(place, nodes, "a list of calls")
            found["inbound_nodes"] = [self._read_call(node, place) for node in nodes]
        return found

    def _read_call(self, node: Any, place: str) -> dict[str, Any]:
        if not isinstance(node, dict) or not isinstance(node.get("args"), list) or not _is_named(node.get("kwargs")):
            raise unfit(place, node, "a call with `args` and `kwargs`")
        return {
            "args": self._read_passed(node["args"], place),
            "kwargs": {name: self._read_passed(value, place) for name, value in node["kwargs"].items()},
        }

    def _read_passed(self, value: Any, place: str) -> Any:
        """Read the arguments of a layer's call: outputs of other layers, numbers, and array indices."""
        if value is None or isinstance(value, bool | int | float):
            return self.read_number(value, place)
        if isinstance(value, list):
            return [self._read_passed(item, place) for item in self.enter(value, place)]
        name, settings = (value.get("class_name"), value.get("config")) if isinstance(value, dict) else (None, None)
        if name == "__ellipsis__":
            return {"class_name": name, "config": {}}
        if isinstance(settings, dict):
            if name in {"__keras_tensor__", "__tensor__", "__numpy__"}:
                of_a_layer = name == "__keras_tensor__"
                held = "shape" if of_a_layer else "value"
                read = {
                    held: self.read_numbers(settings.get(held), place),
                    "dtype": self._read_dtype(settings.get("dtype"), place),
                }
                if of_a_layer:
                    read["keras_history"] = self._read_history(settings.get("keras_history"), place)
                return {"class_name": name, "config": read}
            if name == "__slice__":
                ends = {end: self._read_passed(settings.get(end), place) for end in ("start", "stop", "step")}
                return {"class_name": name, "config": ends}
        raise unfit(place, value, "numbers and outputs of layers")

    def _read_ends(self, value: Any, place: str) -> Any:
        """Read inputs or outputs of a network: `[layer, call, output]`, alone, in a list or by name."""
        if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
            return self._read_history(value, place)
        if isinstance(value, list):
            return [self._read_ends(item, place) for item in self.enter(value, place)]
        if isinstance(value, dict) and _is_named(value):
            return {self.read_name(name, place): self._read_ends(item, place) for name, item in value.items()}
        raise unfit(place, value, "inputs and outputs of the network")

    def _read_history(self, value: Any, place: str) -> list[Any]:
        if isinstance(value, list) and len(value) == 3 and all(is_whole(place_, 0, MAX_PARTS) for place_ in value[1:]):
            return [self.read_name(value[0], place), *value[1:]]
        raise unfit(place, value, "the output of a layer")

    def _read_shapes(self, value: Any, place: str) -> Any:
        """Read the shapes that a layer is built with, alone or by name."""
        if isinstance(value, dict) and _is_named(value):
            return {self.read_name(name, place): self._read_shapes(item, place) for name, item in value.items()}
        return self.read_numbers(value, place)

    # --- arguments ----------------------------------------------------------------------------------

    def _read_argument(self, name: Any, value: Any, place: str) -> Any:
        read = ARGUMENTS.get(name)
        if read is None:
            shown = clean_name(str(name), 60)
            raise unsafe(
                f"{capital(place)} has an argument `{shown}`, which is not accepted. Build the layer without it."
            )
        return read(self, value, f"argument `{name}` of {place}")

    def _read_dtype(self, value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and value in DTYPES):
            return value
        if isinstance(value, dict):
            policy = self.read_part(value, (POLICIES,), place)
            if policy["config"].get("name") in DTYPES:
                return policy
        raise unfit(place, value, "the name of a dtype")

    def _read_activation(self, value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and value in ACTIVATIONS):
            return value
        if isinstance(value, dict) and value.get("class_name") == "function":
            name = value.get("config")
            if value.get("module") in ("builtins", "keras.activations") and isinstance(name, str):
                return self._read_activation(name, place)
        elif isinstance(value, dict):
            return self.read_part(value, (ACTIVATION_LAYERS,), place)
        raise unfit(place, value, "an activation of Keras")

    def _read_wrapped(self, value: Any, place: str) -> Any:
        return None if value is None else self.read_part(value, _ANY_LAYER, place)


_Read = Callable[[_Reading, Any, str], Any]


def _make_word_reader(listed: str, otherwise: _Read | None = None) -> _Read:
    allowed = split(listed)

    def read(reading: _Reading, value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and value in allowed):
            return value
        if otherwise is not None and not isinstance(value, str):
            return otherwise(reading, value, place)
        raise unfit(place, value, f"one of {', '.join(sorted(allowed))}")

    return read


def _read_formula(reading: _Reading, value: Any, place: str) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_ .,()>-]{1,200}", value):
        return value
    raise unfit(place, value, "letters, commas and an arrow")


def _make_object_reader(classes: Classes, what: str) -> _Read:
    """Read an object of one of the classes, or its name in either of Keras' two notations."""
    known = {name.lower() for listed in classes.values() for name in listed}

    def read(reading: _Reading, value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and value.replace("_", "").lower() in known):
            return value
        if isinstance(value, dict):
            return reading.read_part(value, (classes,), place)
        raise unfit(place, value, f"{what} of Keras")

    return read


def _map_names(read: _Read, listed: str) -> dict[str, _Read]:
    return dict.fromkeys(split(listed), read)


_PARAMETERS = split("alpha beta bias depthwise embeddings gamma kernel moving_mean moving_variance pointwise recurrent")
# The type of an argument by its name, which means the same in all layers, operations and initializers.
ARGUMENTS: dict[str, _Read] = {
    "name": _Reading.read_name,
    "dtype": _Reading._read_dtype,
    "layer": _Reading._read_wrapped,
    "backward_layer": _Reading._read_wrapped,
    "padding": _make_word_reader("same valid causal", otherwise=_Reading.read_wholes),
    "data_format": _make_word_reader("channels_last channels_first"),
    "interpolation": _make_word_reader("nearest bilinear bicubic lanczos3 lanczos5"),
    "activity_regularizer": _make_object_reader(REGULARIZERS, "regularizer"),
    **{f"{parameter}_initializer": _make_object_reader(INITIALIZERS, "initializer") for parameter in _PARAMETERS},
    **{f"{parameter}_regularizer": _make_object_reader(REGULARIZERS, "regularizer") for parameter in _PARAMETERS},
    **{f"{parameter}_constraint": _make_object_reader(CONSTRAINTS, "constraint") for parameter in _PARAMETERS},
    **_map_names(_Reading._read_activation, "activation recurrent_activation"),
    **_map_names(
        _make_word_reader(
            """ave concat constant dot edge fan_avg fan_in fan_out horizontal horizontal_and_vertical mul nearest normal
            reflect rows columns sum symmetric truncated_normal uniform untruncated_normal vertical wrap"""
        ),
        "mode merge_mode fill_mode distribution score_mode",
    ),
    **_map_names(_read_formula, "equation subscripts pattern"),
    **_map_names(_Reading.read_seed, "seed"),
    **_map_names(
        _Reading.read_flag,
        """trainable use_bias center keepdims optional antialias crop_to_aspect_ratio pad_to_aspect_ratio go_backwards
        stateful unroll return_sequences return_state reset_after unit_forget_bias zero_output_for_mask rms_scaling
        synchronized normalize use_scale use_gate mask_zero invert approximate is_causal flash_attention autocast
        return_attention_scores""",
    ),
    **_map_names(
        _Reading.read_wholes,
        """filters units kernel_size strides pool_size dilation_rate size output_size cropping target_shape dims axis
        axis1 axis2 axes shared_axes attention_axes bias_axes noise_shape output_shape output_padding height width n
        bins batch_shape batch_input_shape build_input_shape input_shape input_axes output_axes newshape shape num
        num_heads key_dim value_dim head_dim num_query_heads num_key_value_heads groups depth_multiplier input_dim
        output_dim input_length repeats shift source destination k decimals block_size pad_width indices_or_sections ord
        power_iterations projection_dim sliding_window order top_padding bottom_padding left_padding right_padding
        target_height target_width top_cropping bottom_cropping left_cropping right_cropping""",
    ),
    **_map_names(
        _Reading.read_numbers,
        """scale offset mean variance stddev minval maxval gain value l1 l2 factor rate momentum epsilon alpha
        negative_slope max_value min_value threshold x_min x_max fill_value height_factor width_factor x_factor y_factor
        brightness_factor contrast_factor saturation_factor hue_factor addition_factor threshold_factor sigma
        value_range dropout recurrent_dropout mask_value renorm_momentum b default_value initial nan posinf neginf
        attn_logits_soft_cap init_values drop_path_rate""",
    ),
    **_map_names(
        _Reading.require_absent, "sparse ragged renorm renorm_clipping quantization_config lora_rank lora_alpha weights"
    ),
}


def _is_listed(module: Any, name: Any, lists: tuple[Classes, ...]) -> bool:
    is_text = isinstance(module, str) and isinstance(name, str)
    return is_text and any(name in classes.get(module, ()) for classes in lists)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and len(name) <= MAX_NAME for name in value)


def _describe_place(name: Any, settings: Any, otherwise: str) -> str:
    """Describe a part for people: "layer `conv1` (Conv2D)"."""
    own = settings.get("name") if isinstance(settings, dict) else None
    kind = clean_name(str(name), 60)
    return f"layer `{clean_name(own, 60)}` ({kind})" if isinstance(own, str) else f"`{kind}` in {otherwise}"
