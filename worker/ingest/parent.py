"""The parent's side of the process that ingests one upload, derives a version, or finds copies.

The parent starts it, reads its messages, and kills it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL, SIGXCPU
from typing import Any, Literal, NoReturn

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from heldout.work.kinds import DeriveSpec
from worker.ingest.messages import IngestProgress, IngestReport, Related, decode
from worker.ingest.rejection import MIB, IngestLimits, Rejection, empty_folder, format_size
from worker.machine.enclosed_process import EnclosedProcess, LineTooLong, ProcessEnded

SET_VARIABLES = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    # Large buffers return to the system as soon as they are freed; those of ordinary blocks are reused.
    "MALLOC_MMAP_THRESHOLD_": str(8 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(16 * MIB),
}


class BoundedProcess(EnclosedProcess):
    """A process with an assignment.

    The thread that starts it must outlive it: on Linux the process ends with that thread.
    """

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
        self._is_done = False
        self._ends_at = time.monotonic() + limits.wall_s
        whole = {**assignment, "limits": asdict(limits)}
        super().__init__("worker.ingest.child", work, whole, inputs, target, SET_VARIABLES)

    def receive(self, timeout_s: float) -> IngestProgress | IngestReport | Related | None:
        """Return the next message, or None after `timeout_s` without one. A Report or Related is the last.

        Raises:
            Rejection: the upload is rejected, or the process ended without its last message; `target` then is empty.
        """
        try:
            line = self.read_line(min(timeout_s, self._ends_at - time.monotonic()))
        except ProcessEnded as ended:
            self._fail(self._explain_death(ended))
        except LineTooLong:
            self._fail(_make_crashed("sent too long a message"))
        if line is not None:
            return self._answer(line)
        if time.monotonic() >= self._ends_at:
            self._fail(_make_timed_out(self._limits))
        return None

    def kill(self) -> None:
        """End the process and everything that it started; does nothing if it has ended.

        Unless its last message has been received, `target` is emptied.
        """
        super().kill()
        if not self._is_done:
            empty_folder(self.target)

    def _answer(self, line: bytes) -> IngestProgress | IngestReport | Related:
        try:
            message = decode(line)
        except ValueError:
            self._fail(_make_crashed("sent a message that is not understood"))
        if isinstance(message, Rejection):
            self._fail(message)
        if not isinstance(message, IngestProgress):
            self._is_done = True
            self.kill()
        return message

    def _fail(self, rejection: Rejection) -> NoReturn:
        self.kill()
        raise rejection

    def _explain_death(self, ended: ProcessEnded) -> Rejection:
        """Say why the process ended without a report."""
        if any("bad_alloc" in line or "MemoryError" in line for line in self.last_lines()):
            return Rejection(
                RejectionCode.OUT_OF_MEMORY,
                f"The ingest needs more memory than the {format_size(self._limits.memory_bytes)} that it may use. "
                "Upload smaller images, or ask the operator for a higher limit.",
            )
        if ended.exit_code == -SIGXCPU:
            return _make_timed_out(self._limits)
        return _make_crashed(f"{ended}" + (", perhaps because memory ran out" if ended.exit_code == -SIGKILL else ""))


class IngestProcess(BoundedProcess):
    """Start the process of an upload, which does what `run` does. Its last message is a Report."""

    def __init__(
        self,
        source: Path,
        spec: DatasetSpec,
        target: Path,
        limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
        base: Mapping[str, Any] | None = None,
        content: Path | None = None,
        names: Path | None = None,
    ) -> None:
        """base: what `read_base` takes besides the files `content` and `names`, if images are added to a version."""
        assignment = {"spec": spec.model_dump(mode="json"), "base": base}
        super().__init__("ingest", assignment, {"source": source, "content": content, "names": names}, target, limits)


class DeriveProcess(BoundedProcess):
    """Start the process of a derived version, which does what `derive` does. Its last message is a Report."""

    def __init__(
        self,
        content: Path,
        names: Path | None,
        spec: DeriveSpec,
        target: Path,
        limits: IngestLimits,
        different: Sequence[Sequence[int]] = (),
    ) -> None:
        """different: pairs of the version's images that a user marked as different."""
        assignment = {
            "called": spec.base_name,
            "sha256": spec.base_sha256,
            "spec": spec.dataset.model_dump(mode="json"),
            "changes": spec.changes.body(),
            "different": different,
        }
        super().__init__("derive", assignment, {"content": content, "names": names}, target, limits)


class RelateProcess(BoundedProcess):
    """Start the process of a stored dataset, which does what `relate` does. Its last message is a Related."""

    def __init__(
        self,
        content: Path,
        target: Path,
        limits: IngestLimits,
        *,
        names: Path | None = None,
        group_by: str | None = None,
    ) -> None:
        super().__init__("relate", {"group_by": group_by}, {"content": content, "names": names}, target, limits)


def ingest(
    source: Path,
    spec: DatasetSpec,
    target: Path,
    limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
    progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> IngestReport:
    """Do what `run` does, in a separate process. Raises Rejection, also if that process dies or is too slow."""
    with IngestProcess(source, spec, target, limits) as process:
        while True:
            message = process.receive(60)
            if isinstance(message, IngestReport):
                return message
            if isinstance(message, IngestProgress):
                progress(message)


def _make_timed_out(limits: IngestLimits) -> Rejection:
    return Rejection(
        RejectionCode.TIMED_OUT,
        f"The ingest took longer than the limit of {limits.wall_s} s. Upload fewer or smaller images, or ask the "
        "operator for a higher limit.",
    )


def _make_crashed(how: str) -> Rejection:
    return Rejection(
        RejectionCode.CRASHED,
        f"The process that read the upload {how}. Upload it again; if it happens again, save the files again.",
    )
