"""Reads files of models and writes each outcome and each audit event as JSON. Arguments: FOLDER OUTPUT.

It needs its own process, because an audit hook cannot be removed. It has the limits of the process that checks uploads.
"""

import json
import sys
from pathlib import Path
from typing import Any

import worker.training.uploaded_models.keras_model  # noqa: F401 - it sets TensorFlow's threads before they begin
from tests.worker.training.hostile_models import plain
from worker.machine.enclosure import GIB, limit_process
from worker.training.model_files.refusal import ModelRefused
from worker.training.uploaded_models.child import read_facts

MAX_PARAMETERS = 50_000_000
WATCHED = ("open", "import", "exec", "compile", "socket.", "subprocess.", "os.", "shutil.", "ctypes.", "urllib.")


def main(folder: Path, output: Path) -> None:
    files = sorted(folder.iterdir())
    plain_file = folder / "plain"
    plain_file.write_text(json.dumps(plain()), encoding="utf-8")
    read_facts(plain_file, MAX_PARAMETERS)  # import what Keras loads lazily
    outcomes: dict[str, list[str]] = {}
    events: list[list[str]] = []
    reading = [""]

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if reading[0] and event.startswith(WATCHED):
            events.append([reading[0], event, str(arguments[0] if arguments else "")[:300]])

    limit_process(4 * GIB, 600)
    sys.addaudithook(record)
    for file in files:
        reading[0] = file.name
        try:
            facts = read_facts(file, MAX_PARAMETERS)
            outcomes[file.name] = ["read", f"{facts.parameters:,} parameters"]
        except ModelRefused as refused:
            outcomes[file.name] = [refused.code.value, refused.detail]
        except MemoryError:
            outcomes[file.name] = ["out_of_memory", ""]
        reading[0] = ""
    output.write_text(json.dumps({"outcomes": outcomes, "events": events}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
