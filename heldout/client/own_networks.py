"""A `keras.Model` of the user's program, as the network of a spec.

Nothing here imports Keras: a program that has a model has imported it.
"""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeGuard

from heldout.client.compiled import translate
from heldout.spec.job import JobSpec, TrainingSpec
from heldout.spec.network import OwnNetworkSpec
from heldout.spec.part import SpecPart
from heldout.views.base import dump_json
from heldout.views.dataset import DatasetView

Weights = Literal["fresh", "uploaded"]
# Zip archives cannot hold an earlier time. Always the same one, so that the same model is the same file.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
# Members of an architecture that name layers.
_NAME_LAYERS = {"name", "keras_history", "input_layers", "output_layers"}
_CONFIG, _METADATA = "config.json", "metadata.json"


class KerasModel(Protocol):
    """What a `keras.Model` has."""

    name: str

    def to_json(self) -> str: ...
    def save(self, filepath: Any) -> None: ...


def is_model(given: Any) -> TypeGuard[KerasModel]:
    """Return whether something is a model of Keras, and not a spec or a path."""
    return hasattr(given, "to_json") and hasattr(given, "save") and hasattr(given, "fit")


def dump_spec(spec: Any, dataset: str | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a spec as JSON.

    Args:
        dataset, options: arguments that only a model takes.
    Raises:
        TypeError: if it is not a spec, or has such arguments.
    """
    if not isinstance(spec, Mapping | JobSpec):
        raise TypeError(
            f"Received {type(spec).__name__}; expected a spec (a dictionary or a JobSpec) or a keras.Model."
        )
    if dataset is not None or options:
        names = [*(() if dataset is None else ("dataset",)), *options]
        raise TypeError(f"These belong into the spec: {', '.join(names)}. Only a keras.Model takes them as arguments.")
    return dump_json(spec) if isinstance(spec, JobSpec) else spec


def write_model(model: KerasModel, weights: Weights, folder: Path) -> Path:
    """Write a model to a file in the folder: its architecture alone, or with its weights.

    What it was compiled with is left out, and so is the time. Layers of an architecture that Keras has named are
    numbered from 1, because Keras keeps counting when a program makes a model again. So the same model gives the same
    file.

    Raises:
        ValueError: if the model cannot be saved, such as a subclass without `get_config`.
    """
    try:
        if weights == "fresh":
            file = folder / "model.json"
            architecture = _leave_out(model.to_json(), "compile_config")
            file.write_text(json.dumps(_rename(architecture, _number_anew(architecture))), encoding="utf-8")
            return file
        saved, file = folder / "saved.keras", folder / "model.keras"
        model.save(saved)
    except (NotImplementedError, TypeError):
        if type(model).__module__.partition(".")[0] != "keras":
            error = TypeError(  # Keras' own words are about saving, which would not be enough
                f"its class {type(model).__name__} is your program's own. Build the network with keras.Sequential or "
                "keras.Model(inputs, outputs)."
            )
        raise ValueError(f"Keras cannot save {model.name}: {error}") from None
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(file, "w") as target:
        for member in source.infolist():
            content: IO[bytes] = source.open(member)
            if member.filename in {_CONFIG, _METADATA}:
                kept = _leave_out(content.read(), "compile_config", "date_saved")
                content = io.BytesIO(json.dumps(kept).encode())
            with target.open(zipfile.ZipInfo(member.filename, _NO_TIME), "w", force_zip64=True) as written:
                shutil.copyfileobj(content, written)
    return file


def build_spec(
    model: KerasModel, weights: Weights, dataset: DatasetView, options: Mapping[str, Any], model_id: str
) -> dict[str, Any]:
    """Build the spec of a job that trains a model, with what it was compiled with.

    Args:
        options: fields of `network`, `training` and of the spec itself; they win over what was compiled. `optimizer`
            may also be an optimizer of Keras.
        model_id: the uploaded model.
    Raises:
        TypeError: if an option is not a field.
        Untranslatable: if a spec does not have something that the model was compiled with.
    """
    given = _sort_options(options)
    training = given["training"]
    epochs, batch_size = (
        training.get(name, TrainingSpec.model_fields[name].default) for name in ("epochs", "batch_size")
    )
    steps = 0
    if isinstance(epochs, int) and isinstance(batch_size, int) and batch_size > 0:  # else the service refuses them
        images = count_training_images(dataset, given["spec"].get("validation"), training.get("train_limit"))
        steps = -(-images // batch_size)
    get_compile_config = getattr(model, "get_compile_config", None)
    compiled = get_compile_config() if get_compile_config is not None else None
    if compiled:
        # The configuration of a function is its name, even if it is your own.
        compiled = {**compiled, "loss": getattr(model, "loss", None)}
    taken = translate(compiled, training.pop("optimizer", None), steps, epochs)
    return {
        "dataset": f"{dataset.name}@{dataset.version}",
        **given["spec"],
        "network": {"model": model_id, "weights": weights, **given["network"]},
        "training": taken | training,
    }


def _sort_options(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort options by the part of the spec that has them: `network`, `training`, or the spec itself."""
    kinds: dict[str, type[SpecPart]] = {"network": OwnNetworkSpec, "training": TrainingSpec, "spec": JobSpec}
    apart = {*kinds, "dataset", "model"}
    parts = {name: part for part, kind in kinds.items() for name in kind.model_fields if name not in apart}
    sorted_options: dict[str, dict[str, Any]] = {part: {} for part in kinds}
    for name, value in options.items():
        if name == "callbacks":
            raise TypeError(_describe_callbacks(value))
        if name not in parts:
            raise TypeError(f"There is no option {name!r}; there are {', '.join(sorted(parts))}.")
        sorted_options[parts[name]][name] = value
    return sorted_options


def _describe_callbacks(callbacks: Any) -> str:
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    names = ", ".join(type(callback).__name__ for callback in given)
    return (
        f"Callbacks cannot be used, because training runs in the service: {names}. Use `early_stopping` for "
        "EarlyStopping, `schedule={'name': 'reduce_on_plateau'}` for ReduceLROnPlateau, and `job.follow()` to see each "
        "epoch. Checkpoints are always kept."
    )


def count_training_images(dataset: DatasetView, validation: Any, train_limit: int | None) -> int:
    """Count the images that a job trains on; 0 if only the service knows that, because it cuts folds."""
    if dataset.splits is None or (validation is not None and validation != {"use": "train"}):
        return 0
    images = dataset.splits.train.count + (dataset.splits.validation.count if validation is not None else 0)
    return images if train_limit is None else min(images, train_limit)


def _leave_out(text: str | bytes, *names: str) -> dict[str, Any]:
    """Read a JSON object without these members."""
    return {name: value for name, value in json.loads(text).items() if name not in names}


def _number_anew(architecture: Any) -> dict[str, str]:
    """Return new names of the layers that Keras has named: `conv2d_1` for the second of a class, not `conv2d_7`."""
    named = list(_list_names(architecture))
    given = {name for name, base in named if not re.fullmatch(rf"{base}(_\d+)?", name)}
    taken = set(given)  # a new name may be another layer's old name, which gets a new one in its turn
    names: dict[str, str] = {}
    for name, base in named:
        if name not in given and name not in names:
            numbered = (f"{base}_{number}" if number else base for number in count())
            names[name] = next(new for new in numbered if new not in taken)
            taken.add(names[name])
    return names


def _list_names(part: Any) -> Iterator[tuple[str, str]]:
    """Yield the name of each layer, and the name that Keras makes of its class."""
    if isinstance(part, Mapping):
        config, kind = part.get("config"), part.get("class_name")
        if isinstance(config, Mapping) and isinstance(config.get("name"), str) and isinstance(kind, str):
            words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
            yield config["name"], re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    for inner in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _list_names(inner)


def _rename(part: Any, names: Mapping[str, str], *, is_reference: bool = False) -> Any:
    """Return a configuration with other names of layers, where it names and refers to them."""
    if isinstance(part, str):
        return names.get(part, part) if is_reference else part
    if isinstance(part, list):
        return [_rename(inner, names, is_reference=is_reference) for inner in part]
    if isinstance(part, Mapping):
        return {
            key: _rename(inner, names, is_reference=is_reference or key in _NAME_LAYERS) for key, inner in part.items()
        }
    return part
