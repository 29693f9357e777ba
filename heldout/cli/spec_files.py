"""Specs to start from: presets by name, files, standard input; and changes such as `--set training.epochs=3`."""

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from heldout.cli.outcome import Refused
from heldout.spec.pretrained import START_FOR_PHOTOGRAPHS

EXAMPLE_DATASET = "mnist5k"
_TRAINING = {"epochs": 10, "batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.001}, "seed": 7}
_CHANGES = {"rotation_degrees": 20, "width_shift": 0.2, "height_shift": 0.2, "horizontal_flip": True}


class Preset(StrEnum):
    """A network that memorizes its images, regularized and augmented ones, a ResNet, and pretrained features."""

    OVERFIT = "overfit"
    REGULARIZED = "regularized"
    AUGMENTED = "augmented"
    RESNET20 = "resnet20"
    PHOTOS = "photos"


def _list_resnet_blocks(repeat: int) -> list[dict[str, Any]]:
    """Return the blocks of a network for images of 32×32 (He et al. 2015, section 4.2): three sizes of maps."""
    usual = {"padding": "same", "norm": "batch", "pool": 1}
    residual = usual | {"residual": True, "repeat": 2}
    blocks: list[dict[str, Any]] = [{"filters": 16, **usual}]
    for filters in (16, 32, 64):
        first = residual if filters == 16 else residual | {"strides": 2}
        blocks += [{"filters": filters, **each} for each in (first, *[residual] * (repeat - 1))]
    return blocks


_PARTS: dict[Preset, dict[str, Any]] = {
    Preset.OVERFIT: {"network": {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 128}]}},
    Preset.REGULARIZED: {
        "network": {"blocks": [{"filters": 32, "dropout": 0.25}, {"filters": 64, "dropout": 0.25}], "l2": 0.01}
    },
    Preset.AUGMENTED: {
        "network": {"blocks": [{"filters": 16}]},
        "augmentation": _CHANGES,
        "training": _TRAINING | {"epochs": 20},
    },
    Preset.RESNET20: {
        "network": {"blocks": _list_resnet_blocks(3), "l2": 0.0001, "head": "global_average"},
        "training": _TRAINING
        | {
            "epochs": 20,
            "batch_size": 128,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
            "schedule": {"name": "cosine", "warmup_epochs": 1},
        },
    },
    Preset.PHOTOS: {
        "network": {"blocks": [], **START_FOR_PHOTOGRAPHS},
        "training": _TRAINING | {"epochs": 20, "early_stopping": {"patience": 5}},
    },
}


def build_command(dataset: str, image: tuple[int, int, int], classes: int, preset: str = Preset.REGULARIZED) -> str:
    """Return the `heldout train` command with the preset that is proposed, and with padding for small images.

    Args:
        image: (height, width, channels) of one image.
    """
    from heldout.errors import NetworkTooDeep
    from heldout.spec.layers import plan_network
    from heldout.spec.network import NetworkSpec

    network = get_spec(Preset(preset))["network"]
    command = f"heldout train --preset {preset} --set dataset={dataset}"
    if not network["blocks"]:
        return command
    try:
        plan_network(NetworkSpec.model_validate(network), image, max(2, classes))
    except NetworkTooDeep:
        command += "".join(f" --set network.blocks.{index}.padding=same" for index in range(len(network["blocks"])))
    return command


def get_spec(preset: Preset) -> dict[str, Any]:
    """Return a new copy of the spec, without a name: the service names the job after its dataset and network."""
    return deepcopy({"dataset": EXAMPLE_DATASET, "training": _TRAINING, **_PARTS[preset]})


def drop_example_name(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec without the name of an example, such as `overfit`, if its dataset is not the example's."""
    if spec.get("name") not in list(Preset) or spec.get("dataset") == EXAMPLE_DATASET:
        return spec
    return {key: value for key, value in spec.items() if key != "name"}


def read_spec(source: str) -> dict[str, Any]:
    """Read the JSON object in a file, or on standard input for `-`.

    Raises:
        Refused: if it cannot be read, or is not a JSON object.
    """
    spec = parse(_read_text(source), "standard input" if source == "-" else source)
    if not isinstance(spec, dict):
        raise Refused(f"{source}: a spec is a JSON object, this is {_name_kind(spec)}.")
    return spec


def apply_settings(spec: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Copy the spec, and apply each `path=value` of `settings`.

    Raises:
        Refused: if a setting does not fit it.
    """
    changed = deepcopy(spec)
    for setting in settings:
        put(changed, setting)
    return changed


def parse(text: str, source: str) -> Any:
    """Read the JSON in a text; `source` names it in the message.

    Raises:
        Refused: with the line and column of the fault.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Refused(f"{source}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Refused(f"{source}: nested too deeply") from None
    except ValueError as error:
        raise Refused(f"{source}: {error}") from None


def put(spec: dict[str, Any], setting: str) -> None:
    """Set the value of `path=value` at its dotted path; whole numbers are positions in lists.

    The value is JSON if it can be read as JSON, else text. Missing or null objects on the path are created; the
    position after a list's end appends.

    Raises:
        Refused: if the setting has no path or does not fit the spec.
    """
    path, separator, text = setting.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise Refused(f"--set {setting}: expected path=value, such as training.epochs=3")
    place: Any = spec
    for depth, key in enumerate(keys):
        if not isinstance(place, dict | list):
            raise Refused(f"--set {setting}: {'.'.join(keys[:depth])} is {_name_kind(place)}")
        at: Any = key if isinstance(place, dict) else _parse_index(place, key, setting)
        is_new = at not in place if isinstance(place, dict) else at == len(place)
        inner = None if is_new else place[at]
        if depth == len(keys) - 1:
            inner = parse_value(text)
        elif inner is None:
            inner = {}
        if is_new and isinstance(place, list):
            place.append(inner)
        else:
            place[at] = inner
        place = inner


def parse_value(text: str) -> Any:
    """`3`, `true`, `null`, `[1, 2]` and `{"a": 1}` as JSON; anything else as text."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _parse_index(place: list[Any], key: str, setting: str) -> int:
    if not (key.isascii() and key.isdigit()):
        raise Refused(f"--set {setting}: {key!r} is not a position in a list; count from 0")
    if int(key[:9]) > len(place):
        raise Refused(f"--set {setting}: there is no position {key}; the list has {len(place)}")
    return int(key)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _name_kind(value: Any) -> str:
    kinds = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), "an object")


def _read_text(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{source}: not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise Refused(f"{source}: {error.strerror or error}") from None
