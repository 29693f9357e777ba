"""What a training takes of an uploaded model, taken out of its file by a bounded process before the training starts."""

import time
from pathlib import Path
from typing import Literal

from models.blobs import BlobMissing
from models.store.claims import Claimed
from worker.machine.bounds import GIB
from worker.messages import AssignedBackbone
from worker.supervision.attempt_files import AttemptFiles, BackboneGone, InitialGone, Interrupted
from worker.supervision.foreign_process import ForeignProcess, ForeignProcessDied
from worker.supervision.lease import AttemptLease
from worker.supervision.memory_watch import MemoryWatch
from worker.supervision.processes import ProcessDied

MAX_S = 900
WEIGHTS_FILE = "initial.npz"
_PROGRAMS_BYTES = 3 * GIB
_COPIES = 6


def fetch_initial(
    files: AttemptFiles, claimed: Claimed, folder: Path, lease: AttemptLease, watch: MemoryWatch
) -> Path | None:
    """The file whose weights the job starts from, if it does: of an uploaded model its weights alone.

    Raises:
        What `AttemptFiles.fetch_initial` and `weights_of` do.
    """
    file = files.fetch_initial(claimed, folder)
    is_uploaded = claimed.begins.initial is not None and claimed.begins.initial.is_uploaded
    return file if file is None or not is_uploaded else weights_of(file, folder, lease, watch)


def weights_of(model: Path, folder: Path, lease: AttemptLease, watch: MemoryWatch) -> Path:
    """A file `.npz` in `folder` that nobody needs Keras, or trust, to read.

    Raises:
        InitialGone: the file gives no weights.
        ProcessDied: the process that reads it was killed because memory ran out.
        LeaseLost.
        Interrupted: a client or the worker wants the attempt to end.
    """
    target = folder / "initial"
    died = _run("weights", model, target, lease, watch)
    if died is not None:
        raise InitialGone(f"The weights that it starts from cannot be read from the uploaded model. {died}".rstrip())
    return target / WEIGHTS_FILE


def fetch_backbone(
    files: AttemptFiles, claimed: Claimed, folder: Path, lease: AttemptLease, watch: MemoryWatch
) -> AssignedBackbone | None:
    """The uploaded model before the job's blocks, if it has one, as layers and weights.

    Raises:
        BackboneGone: the file is not there, or cannot be read.
        ProcessDied: the process that reads it was killed because memory ran out.
        LeaseLost.
        Interrupted: a client or the worker wants the attempt to end.
    """
    if claimed.begins.backbone is None:
        return None
    file, target = folder / "backbone.keras", folder / "backbone"
    try:
        files.fetch(claimed.begins.backbone.key, file)
    except BlobMissing as error:
        raise BackboneGone("The file of its backbone is not in the blob store.") from error
    died = _run("backbone", file, target, lease, watch)
    if died is not None:
        raise BackboneGone(f"Its backbone cannot be read from the uploaded model. {died}".rstrip())
    file.unlink()
    return AssignedBackbone(str(target), claimed.begins.backbone.pixels)


def _run(
    work: Literal["weights", "backbone"],
    model: Path,
    target: Path,
    lease: AttemptLease,
    watch: MemoryWatch,
) -> str | None:
    """Have the bounded process write `target`; gives why it could not, and None where it did."""
    memory_bytes = _PROGRAMS_BYTES + _COPIES * model.stat().st_size
    ends_at = time.monotonic() + MAX_S
    watch.begin()
    assignment, inputs = {"file": WEIGHTS_FILE}, {"model": model}
    with ForeignProcess(work, assignment, inputs, target, memory_bytes=memory_bytes, wall_s=MAX_S) as process:
        while time.monotonic() < ends_at:
            lease.require()
            requested = lease.requested_stop(out_of_time=False)
            if requested is not None:
                raise Interrupted(requested)
            watch.look(process.pid)
            try:
                answer = process.receive(0.1)
            except ForeignProcessDied as died:
                if watch.kill_of(died.exit_code) is not None:
                    raise ProcessDied(died.exit_code) from died
                return str(died)
            if answer is not None:
                return None if work in answer else str(answer.get("refused", {}).get("detail", ""))[:2000]
    return "It took too long."
