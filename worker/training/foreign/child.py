"""Entry point of the process that reads an uploaded model: `check`, `measure`, `weights` or `backbone`.

It is limited and sandboxed before it reads anything. Its output is JSON, because the model's file is untrusted.
"""

import sys
import traceback
from pathlib import Path
from typing import Any

from worker.machine.enclosure import begin, enclose, limit_process, tell


def main() -> None:
    """Do what the argument says. The assignment, a JSON object, comes from standard input; the answer is one line."""
    assignment, pipe = begin()
    limit_process(assignment["memory_bytes"], assignment["wall_s"])
    enclose(assignment["readable"], assignment["writable"])
    tell(pipe, _answer(sys.argv[1], assignment))


def _answer(work: str, assignment: dict[str, Any]) -> dict[str, Any]:
    from worker.training.refusal import ModelRefused

    model = Path(assignment["model"])
    try:
        if work == "check":
            from worker.training.foreign.check import read_facts

            return {"facts": read_facts(model, assignment["max_parameters"]).model_dump(mode="json")}
        if work == "weights":
            from worker.training.foreign.keras_model import save_weights

            return {"weights": save_weights(model, Path(assignment["target"], assignment["file"]))}
        if work == "backbone":
            from worker.training.foreign.keras_model import save_backbone

            return {"backbone": save_backbone(model, Path(assignment["target"]))}
        from heldout.spec.model_facts import ModelFacts
        from worker.training.foreign.measure import measure_model

        measured = measure_model(
            model,
            ModelFacts.model_validate(assignment["facts"]),
            Path(assignment["dataset"]),
            Path(assignment["target"]),
            relations=assignment["relations"] and Path(assignment["relations"]),
            names=assignment["names"] and Path(assignment["names"]),
            resident_bytes=assignment["resident_bytes"],
        )
        return {"measured": measured.model_dump(mode="json")}
    except ModelRefused as refused:
        return {"refused": {"code": refused.code.value, "detail": refused.detail}}
    except Exception as error:  # noqa: BLE001 - printed to the log, and told
        traceback.print_exc()
        # TensorFlow's own, where it was imported at all: that takes seconds.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return {"out_of_memory": True}
        return {"internal": type(error).__name__}


if __name__ == "__main__":
    main()
