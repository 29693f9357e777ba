"""Derives a version from a stored one: the same steps as for an upload, from another source."""

from collections.abc import Sequence
from pathlib import Path

from analysis.arrays.dataset import FILES
from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.limits import IngestLimits, empty_folder
from worker.ingest.pipeline import Progress, ingest
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import Rejection
from worker.ingest.report import IngestReport
from worker.ingest.sources.base import UploadSource
from worker.ingest.sources.stored import DerivedSource, read_base


def derive(
    content: Path,
    names: Path | None,
    called: str,
    sha256: str,
    spec: DatasetSpec,
    changes: VersionChanges,
    target: Path,
    limits: IngestLimits = IngestLimits(),  # noqa: B008 - frozen
    progress: Progress = lambda stage, done, of: None,
    pool: ProcessPool | None = None,
    different: Sequence[Sequence[int]] = (),
) -> IngestReport:
    """Write a version with changes into the folder `target`, as `run` writes an upload.

    Args:
        content, names, called, sha256, different: the version to change, as for `read_base`. If images have no names,
            the group rule does not apply. Pairs that stay keep their mark as different.
    Raises:
        Rejection: also if the changes would change nothing.
    """
    base = read_base(content, names, called, sha256, different)
    if not base.is_named:
        spec = spec.model_copy(update={"group_by": None})

    def open_source(scratch: Path) -> UploadSource:
        return DerivedSource(base, changes, limits)

    size_bytes = sum((content / name).stat().st_size for name in FILES)
    report = ingest(open_source, size_bytes, spec, target, limits, progress, pool)
    if report.sha256 == sha256:
        empty_folder(target)
        other = " Cut with another `seed`." if changes.resplit else ""
        raise Rejection(
            RejectionCode.NOTHING_CHANGED,
            f"With these changes {called} stays as it is: there is nothing for them to change.{other}",
        )
    return report
