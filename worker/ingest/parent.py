"""The parent's side of the process that ingests one upload, derives a version, or finds copies.

The parent starts it, reads its answer, and kills it.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL, SIGXCPU
from typing import Any, Literal, NoReturn

from pydantic import TypeAdapter

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import IngestedContent
from heldout.words import format_duration
from worker.ingest.rejection import MIB, IngestLimits, Rejection, empty_folder, make_out_of_memory
from worker.machine.enclosed_process import EnclosedProcess, ProcessDied, describe_end

SET_VARIABLES = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    # Large buffers go back to the system as soon as they are freed. Buffers of ordinary blocks are reused.
    "MALLOC_MMAP_THRESHOLD_": str(8 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(16 * MIB),
}


class BoundedProcess(EnclosedProcess):
    """A process that reads data within limits.

    The thread that starts it must outlive it: on Linux the process ends with that thread.

    Args:
        assignment: what `worker.ingest.child` expects for this work, besides the inputs.
    """

    reads = "upload"

    def __init__(
        self,
        work: Literal["ingest", "derive", "relate"],
        assignment: Mapping[str, Any],
        inputs: Mapping[str, Path | None],
        target: Path,
        limits: IngestLimits,
    ) -> None:
        if target.is_dir() and any(target.iterdir()):
            raise ValueError(f"{target} is not empty")
        self._limits = limits
        self._ends_at = time.monotonic() + limits.wall_s
        whole = {**assignment, "limits": asdict(limits)}
        super().__init__("worker.ingest.child", work, whole, inputs, target, SET_VARIABLES)
        self._work = work

    def receive(self, timeout_s: float) -> IngestedContent | dict[str, str] | None:
        """Return its answer, or None if it takes longer than `timeout_s`. A search for copies answers with digests.

        Raises:
            Rejection: the upload is rejected, or the process ended without an answer. `target` is empty then.
        """
        try:
            answer = super().receive(min(timeout_s, self._ends_at - time.monotonic()))
            found = None if answer is None else parse_answer(self._work, answer)
        except ProcessDied as died:
            self._fail(self._explain_death(died))
        except ValueError:
            self._fail(self._explain_death(self.make_misunderstood()))
        except Rejection as rejection:
            self._fail(rejection)
        if found is None and time.monotonic() >= self._ends_at:
            self._fail(_make_timed_out(self._limits))
        return found

    def kill(self) -> None:
        """End the process and everything that it started; does nothing if it has ended.

        Empty `target` unless its answer has been received.
        """
        super().kill()
        if not self.has_answered:
            empty_folder(self.target)

    def _fail(self, rejection: Rejection) -> NoReturn:
        self.kill()
        empty_folder(self.target)
        raise rejection

    def _explain_death(self, died: ProcessDied) -> Rejection:
        """Say why the process gave no answer."""
        if any("bad_alloc" in line or "MemoryError" in line for line in self.last_lines()):
            return make_out_of_memory(self._limits)
        if died.exit_code == -SIGXCPU:
            return _make_timed_out(self._limits)
        how = "sent an invalid message" if died.exit_code is None else describe_end(died.exit_code)
        likely = ", perhaps because memory ran out" if died.exit_code == -SIGKILL else ""
        return Rejection(
            RejectionCode.CRASHED,
            f"The process that read the upload {how}{likely}. Upload it again; if it happens again, save the files "
            "again.",
        )


def parse_answer(work: str, answer: Mapping[str, Any]) -> IngestedContent | dict[str, str]:
    """Parse the answer of a process.

    Raises:
        Rejection: it has rejected the upload.
        ValueError: this is not an answer to the work. A file may have taken over the process that read it.
    """
    match answer:
        case {"ingested": content} if work != "relate":
            return TypeAdapter(IngestedContent).validate_python(content)
        case {"related": digests} if work == "relate":
            return TypeAdapter(dict[str, str]).validate_python(digests)
        case {"rejection": {"code": code, "detail": str(detail), "member": str() | None as member}}:
            raise Rejection(RejectionCode(code), detail, member)
    raise ValueError("not an answer of an ingest")


def ingest(
    source: Path,
    spec: DatasetSpec,
    target: Path,
    limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
) -> IngestedContent:
    """Run `run` in a separate process. Raises Rejection, also if that process dies or is too slow."""
    assignment = {"spec": spec.model_dump(mode="json"), "base": None}
    with BoundedProcess("ingest", assignment, {"source": source}, target, limits) as process:
        while not isinstance(report := process.receive(60), IngestedContent):
            pass
        return report


def _make_timed_out(limits: IngestLimits) -> Rejection:
    return Rejection(
        RejectionCode.TIMED_OUT,
        f"The ingest took longer than the limit of {format_duration(limits.wall_s)}. Upload fewer or smaller images, "
        "or ask the operator for a higher limit.",
    )
