"""The objects that a Keras config describes, and whether all of them are Keras' own. Nothing is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Layers that hold Python code, or load other files.
UNSAFE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Modules of Keras whose objects are not parts of a network.
UNSAFE_MODULES = ("keras.utils", "keras.src.utils", "keras.saving", "keras.src.saving", "keras.config")


@dataclass(frozen=True)
class NotOwn:
    """An object that is not taken. is_unsafe: it holds program code or reads files; else it is just not Keras' own."""

    name: str
    is_unsafe: bool


def part_not_own(config: Any) -> NotOwn | None:
    """The first object of a config that is not a part of a network of Keras' own; None where there is none."""
    for part in parts_of(config):
        name, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
        if name in UNSAFE:
            return NotOwn(str(name), is_unsafe=True)
        is_registered = isinstance(registered, str) and ">" in registered and not registered.startswith("keras")
        if is_registered or (isinstance(module, str) and not _is_of_keras(module)):
            return NotOwn(str(name), is_unsafe=False)
    return None


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """All objects that a config describes, in any depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if isinstance(one.get("class_name"), str):
                yield one
            left += one.values()
        elif isinstance(one, list):
            left += one


def _is_of_keras(module: str) -> bool:
    is_inside = module == "keras" or module.startswith("keras.") or module == "builtins"
    return is_inside and not any(module == one or module.startswith(f"{one}.") for one in UNSAFE_MODULES)
