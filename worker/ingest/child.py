"""Entry point of the process that ingests one upload, derives a version, or finds the copies in one dataset.

It is limited and sandboxed before it reads anything, and has no credentials.
"""

import os
import sys
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.pipeline import derive, relate, run
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import GIB, IngestLimits, Rejection, empty_folder
from worker.ingest.sources.stored import read_base
from worker.machine.enclosure import begin, enclose, limit_process, tell

# The search for copies runs in the background: a process that trains has priority.
BACKGROUND_NICENESS = 10


def main() -> None:
    """Do the work that the argument names: `ingest`, `derive` or `relate`.

    The assignment, a JSON object, comes from standard input; the answer is a line on standard output.
    """
    work = sys.argv[1]
    assignment, pipe = begin()
    limits = IngestLimits(**assignment["limits"])
    # Mapped files do not count as private memory.
    address_bytes = limits.memory_bytes + limits.normalised_bytes + 4 * GIB
    file_bytes = max(limits.normalised_bytes, limits.unpacked_bytes) + GIB
    limit_process(limits.memory_bytes, limits.wall_s, file_bytes, address_bytes)
    warnings.simplefilter("ignore")  # a hostile upload could fill the log with them
    if work == "relate":
        os.nice(BACKGROUND_NICENESS)
    with ProcessPool(limits.processes) as pool:  # while its locks, in /dev/shm, can be created
        enclose(assignment["readable"], assignment["writable"])
        tell(pipe, _answer(work, assignment, limits, pool))


def _answer(work: str, given: dict[str, Any], limits: IngestLimits, pool: ProcessPool) -> dict[str, Any]:
    """Do the work; `worker.ingest.parent` parses the answer."""
    target, names = Path(given["target"]), given.get("names") and Path(given["names"])
    try:
        if work == "relate":
            content, group_by = Path(given["content"]), given["group_by"]
            return {"related": relate(content, target, limits, names=names, group_by=group_by, pool=pool)}
        spec, base = DatasetSpec.model_validate(given["spec"]), None
        if given["base"] is not None:
            columns = given.get("columns") and Path(given["columns"])
            base = read_base(Path(given["content"]), names, **given["base"], columns=columns)
        if work == "derive":
            assert base is not None
            made = derive(base, spec, VersionChanges.model_validate(given["changes"]), target, limits, pool)
        else:
            made = run(Path(given["source"]), spec, target, limits, pool, base)
        return {"ingested": asdict(made)}
    except Rejection as rejection:
        return {"rejection": rejection.as_json()}
    except Exception:  # noqa: BLE001 - printed to the log and reported
        traceback.print_exc()
        empty_folder(target)
        detail = "The ingest broke on our side. Upload again; if it happens again, tell the operator."
        return {"rejection": Rejection(RejectionCode.INTERNAL, detail).as_json()}


if __name__ == "__main__":
    main()
