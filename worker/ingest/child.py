"""Entry point of the process that ingests one upload, derives a version, or finds the copies in one dataset.

It is limited and sandboxed before it reads anything, and has no credentials.
"""

import os
import sys
import time
import traceback
import warnings
from io import FileIO
from pathlib import Path
from typing import Any

from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.messages import IngestProgress, Message, Related, encode
from worker.ingest.pipeline import derive, run
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import GIB, IngestLimits, Rejection, empty_folder
from worker.ingest.relations import relate
from worker.ingest.sources.stored import read_base
from worker.machine.enclosure import begin, enclose, limit_process, tell

PROGRESS_EVERY_S = 0.5
# The search for copies runs in the background: a process that trains has priority.
BACKGROUND_NICENESS = 10


def main() -> None:
    """Do what the argument says: `ingest`, `derive` or `relate`.

    The assignment, a JSON object, comes from standard input; the answer goes in lines to standard output.
    """
    assignment, pipe = begin()
    limits = IngestLimits(**assignment["limits"])
    # Mapped files come on top of private memory.
    address_bytes = limits.memory_bytes + limits.normalised_bytes + 4 * GIB
    file_bytes = max(limits.normalised_bytes, limits.unpacked_bytes) + GIB
    limit_process(limits.memory_bytes, limits.wall_s, file_bytes, address_bytes)
    warnings.simplefilter("ignore")  # a hostile upload could fill the log with them
    if sys.argv[1] == "relate":
        os.nice(BACKGROUND_NICENESS)
    with ProcessPool(limits.processes) as pool:  # while its locks, in /dev/shm, can be created
        enclose(assignment["readable"], assignment["writable"])
        _answer(assignment, limits, pool, pipe)


def _answer(assignment: dict[str, Any], limits: IngestLimits, pool: ProcessPool, pipe: FileIO) -> None:
    target = Path(assignment["target"])
    said = 0.0

    def report_progress(stage: str, done: int, of: int) -> None:
        nonlocal said
        if done == 0 or done == of or time.monotonic() - said >= PROGRESS_EVERY_S:
            said = time.monotonic()
            tell(pipe, encode(IngestProgress(stage, done, of)))

    answer: Message
    try:
        if sys.argv[1] == "relate":
            names = None if assignment["names"] is None else Path(assignment["names"])
            content, group_by = Path(assignment["content"]), assignment["group_by"]
            answer = Related(relate(content, target, limits, names=names, group_by=group_by, pool=pool))
        elif sys.argv[1] == "derive":
            answer = derive(
                Path(assignment["content"]),
                None if assignment["names"] is None else Path(assignment["names"]),
                assignment["called"],
                assignment["sha256"],
                DatasetSpec.model_validate(assignment["spec"]),
                VersionChanges.model_validate(assignment["changes"]),
                target,
                limits,
                report_progress,
                pool,
                assignment["different"],
            )
        else:
            spec, base = DatasetSpec.model_validate(assignment["spec"]), assignment["base"]
            if base is not None:
                names = None if assignment["names"] is None else Path(assignment["names"])
                base = read_base(Path(assignment["content"]), names, **base)
            answer = run(Path(assignment["source"]), spec, target, limits, report_progress, pool, base)
    except Rejection as rejection:
        answer = rejection
    except BrokenPipeError:
        return  # no one listens any more, and `run` has cleaned up
    except Exception:  # noqa: BLE001 - printed to the log, and told
        traceback.print_exc()
        empty_folder(target)
        answer = Rejection(
            RejectionCode.INTERNAL,
            "The ingest broke on our side. Upload again; if it happens again, tell the operator.",
        )
    tell(pipe, encode(answer))


if __name__ == "__main__":
    main()
