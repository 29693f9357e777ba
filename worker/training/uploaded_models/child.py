"""Entry point of the process that reads a model's file: `check`, `convert`, `fetch`, `measure`, `weights`, `backbone`.

It is limited and sandboxed before it reads anything. Its output is JSON, because the model's file is untrusted.
`fetch` alone uses the network, to get the file: before the sandbox, which closes the network, and without reading it.
"""

import sys
import traceback
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from heldout.spec.pretrained import KERAS_NETWORKS, MAX_KERAS_BYTES
from worker.machine.enclosure import begin, enclose, limit_process, tell
from worker.training.model_files.keras_json import is_architecture
from worker.training.model_files.refusal import ModelRefused
from worker.training.uploaded_models import onnx_model
from worker.training.uploaded_models.download import FETCHED_FILE, fetch
from worker.training.uploaded_models.time_limit import TimeLimit

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def main() -> None:
    """Do what the argument says. The assignment, a JSON object, comes from standard input; the answer is one line."""
    assignment, pipe = begin()
    limit_process(assignment["memory_bytes"], assignment["wall_s"])
    if sys.argv[1] == "fetch":
        try:
            assignment["model"] = str(_fetch(assignment))
        except ModelRefused as refused:
            tell(pipe, _describe(refused))
            return
    enclose(assignment["readable"], assignment["writable"])
    tell(pipe, _answer(sys.argv[1], assignment, pipe))


def _fetch(assignment: dict[str, Any]) -> Path:
    file = Path(assignment["target"], FETCHED_FILE)
    fetch(assignment["url"], file, KERAS_NETWORKS[assignment["network"]].md5, MAX_KERAS_BYTES)
    return file


def _answer(work: str, assignment: dict[str, Any], pipe: FileIO) -> dict[str, Any]:
    model = Path(assignment["model"])
    try:
        if work == "check":
            limit = TimeLimit(model.stat().st_size, lambda refused: tell(pipe, _describe(refused)))
            facts = read_facts(model, assignment["max_parameters"], limit.set_calls)
            return {"facts": facts.model_dump(mode="json")}
        if work == "convert":
            from worker.training.uploaded_models.conversion import convert

            return {"facts": convert(model, Path(assignment["target"])).model_dump(mode="json")}
        if work == "fetch":
            from worker.training.uploaded_models.conversion import convert_keras

            facts = convert_keras(model, KERAS_NETWORKS[assignment["network"]], Path(assignment["target"]))
            return {"facts": facts.model_dump(mode="json")}
        if work == "weights":
            from worker.training.uploaded_models.keras_model import save_weights

            return {"weights": save_weights(model, Path(assignment["target"], assignment["file"]))}
        if work == "backbone":
            from worker.training.uploaded_models.keras_model import save_backbone

            return {"backbone": save_backbone(model, Path(assignment["target"]), assignment["size"])}
        from worker.training.uploaded_models.measure import measure_model

        measured = measure_model(
            model,
            ModelFacts.model_validate(assignment["facts"]),
            Path(assignment["dataset"]),
            Path(assignment["target"]),
            relations=assignment["relations"] and Path(assignment["relations"]),
            looks=assignment["looks"] and Path(assignment["looks"]),
            names=assignment["names"] and Path(assignment["names"]),
            columns=assignment["columns"] and Path(assignment["columns"]),
            resident_bytes=assignment["resident_bytes"],
        )
        return {"measured": measured.model_dump(mode="json")}
    except ModelRefused as refused:
        return _describe(refused)
    except Exception as error:  # noqa: BLE001 - printed to the log and reported
        traceback.print_exc()
        # TensorFlow's own, where it was imported at all: that takes seconds.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return {"out_of_memory": True}
        return {"internal": type(error).__name__}


def _describe(refused: ModelRefused) -> dict[str, Any]:
    return {"refused": {"code": refused.code.value, "detail": refused.detail}}


def read_facts(
    file: Path, max_parameters: int | None = None, note_calls: Callable[[int], None] = lambda _: None
) -> ModelFacts:
    """Check the file, and return what it holds.

    Args:
        max_parameters: the most that an architecture alone may have. None for any number.
        note_calls: called with the number of calls that Keras needs, before it builds the model.
    Raises:
        ModelRefused.
    """
    with file.open("rb") as opened:
        start = opened.read(8)
    if not start:
        raise ModelRefused(ModelRejectionCode.NOT_A_MODEL, "The file is empty. Upload it again.")
    if start.startswith(_ZIP) or is_architecture(file):
        # Imported here because TensorFlow takes seconds.
        from worker.training.uploaded_models import keras_model

        return keras_model.read_keras_facts(file, max_parameters, note_calls).limit_layers()
    if start.startswith(_HDF5):
        raise ModelRefused(
            ModelRejectionCode.OLD_FORMAT,
            "The file is HDF5, which Keras wrote before its `.keras` files. Load it with "
            "`keras.models.load_model(…, compile=False)`, and save the model with `model.save('model.keras')`.",
        )
    return onnx_model.read_onnx_facts(file).limit_layers()


if __name__ == "__main__":
    main()
