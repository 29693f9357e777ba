"""The weights of an uploaded model, taken out of its file by a bounded process before a training starts from them."""

import time
from pathlib import Path

from worker.machine.bounds import GIB
from worker.supervision.attempt_files import Interrupted
from worker.supervision.foreign_process import ForeignProcess, ForeignProcessDied, in_scratch
from worker.supervision.lease import AttemptLease

MAX_S = 900
_PROGRAMS_BYTES = 3 * GIB
_COPIES = 6


class WeightsUnreadable(Exception):
    """The file gives no weights; its text is shown to the owner."""


def weights_of(model: Path, folder: Path, lease: AttemptLease) -> Path:
    """A file `.npz` in `folder` that nobody needs Keras, or trust, to read.

    Raises:
        WeightsUnreadable, LeaseLost.
        Interrupted: a client or the worker wants the attempt to end.
    """
    target = folder / "initial.npz"
    assignment = {"model": in_scratch(model), "target": in_scratch(target)}
    memory_bytes = _PROGRAMS_BYTES + _COPIES * model.stat().st_size
    ends_at = time.monotonic() + MAX_S
    with ForeignProcess("weights", assignment, folder, memory_bytes=memory_bytes, wall_s=MAX_S) as process:
        while time.monotonic() < ends_at:
            lease.require()
            requested = lease.requested_stop(out_of_time=False)
            if requested is not None:
                raise Interrupted(requested)
            try:
                answer = process.receive(0.1)
            except ForeignProcessDied as died:
                raise WeightsUnreadable(f"The weights that it starts from cannot be read. {died}") from died
            if answer is not None and "weights" in answer:
                return target
            if answer is not None:
                break
    raise WeightsUnreadable("The weights that it starts from cannot be read from the uploaded model.")
