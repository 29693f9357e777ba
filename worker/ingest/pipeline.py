"""From an uploaded file to a dataset in the internal format, audited."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from heldout.datasets import DatasetSpec
from heldout.stored.audit import StoredAudit
from models.arrays import FILES, address_of, save_beside
from worker.ingest.audit import Audit, Subject, audit
from worker.ingest.limits import Limits
from worker.ingest.opening import open_source
from worker.ingest.preview import write_examples, write_previews
from worker.ingest.rejection import Rejection, amount, printable
from worker.ingest.report import Report
from worker.ingest.source import Source, Stored
from worker.ingest.splitting import Splits, groups_of, make_splits
from worker.ingest.workers import Workers

Progress = Callable[[str, int, int], None]  # the stage, how many images are done, of how many
SHOWN_NAMES = 20


def run(
    source: Path,
    spec: DatasetSpec,
    target: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = lambda stage, done, of: None,
) -> Report:
    """Check the upload in the file `source` and write it into the folder `target`, which is empty or not there.

    Then `target` has the four files of the internal format, `audit.json`, `members.txt` with the name of each image on
    a line, a contact sheet `preview/<class>.png` of each class by its number, and `preview/examples/<index>.png` of
    each image that a finding has as an example. No set is ever whole in memory.

    Raises:
        Rejection: if the upload is not taken; `target` then is empty.
    """
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise ValueError(f"{target} is not empty")
    try:
        with Workers(limits.processes) as workers:
            return _run(source, spec, target, limits, workers, progress)
    except BaseException as error:
        empty(target)
        if isinstance(error, MemoryError):
            raise Rejection(
                "out_of_memory",
                f"The check needs more memory than the {amount(limits.memory_bytes)} that it may use. Upload smaller "
                "images, or ask the operator for a higher limit.",
            ) from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Rejection("disk_full", "The worker's disk is full. Try again later, or tell the operator.") from None
        raise


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _run(source: Path, spec: DatasetSpec, target: Path, limits: Limits, workers: Workers, progress: Progress) -> Report:
    scratch = target / ".scratch"
    scratch.mkdir()
    progress("opening", 0, 0)
    opened = open_source(source, scratch, limits)
    count = len(opened.names)
    groups = groups_of(opened.names, spec.group_by)
    splits = make_splits(opened.labels, opened.own, spec.splits, groups)
    stored = opened.store(target / "images.npy", spec, limits, workers, lambda done: progress("decoding", done, count))
    shutil.rmtree(scratch)
    subject = Subject(
        stored.pixels, opened.labels, splits.indices, opened.classes, opened.names, stored.value_range, groups
    )
    save_beside(target, subject.labels, subject.splits, subject.classes, subject.value_range)
    found = audit(subject, workers, lambda done: progress("auditing", done, count))
    progress("finishing", 0, 0)
    write_previews(target / "preview", subject)
    write_examples(target / "preview" / "examples", subject, found.findings)
    with (target / "members.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in opened.names)
    report = _report(source, target, opened, stored, subject, splits, found)
    _write_audit(target, report, found)
    return report


def _report(
    source: Path, target: Path, opened: Source, stored: Stored, subject: Subject, splits: Splits, found: Audit
) -> Report:
    pixels = stored.pixels
    return Report(
        shape=pixels.shape[1:],
        dtype=pixels.dtype.name,
        range=subject.value_range,
        classes=subject.classes,
        splits=found.counts,
        sha256=address_of(
            pixels.dtype,
            pixels.shape,
            pixels.blocks(),
            subject.labels,
            subject.splits,
            subject.classes,
            subject.value_range,
        ),
        size_bytes=sum((target / name).stat().st_size for name in FILES),
        source={
            "format": opened.kind,
            "size_bytes": source.stat().st_size,
            "images": len(subject.labels),
            "encodings": dict(sorted(stored.seen.items())),
            "passed_over": {
                "count": len(opened.passed_over),
                "names": [printable(name) for name in opened.passed_over[:SHOWN_NAMES]],
            },
            "splits": dict(splits.origin),
            "groups": None if subject.groups is None else int(np.max(subject.groups)) + 1,
        },
        findings=found.findings,
    )


def _write_audit(target: Path, report: Report, found: Audit) -> None:
    stored = StoredAudit.model_validate(
        {
            "sha256": report.sha256,
            "splits": found.counts,
            "statistics": found.statistics,
            "findings": [asdict(finding) for finding in found.findings],
            "checks": found.checks,
            "source": report.source,
        }
    )
    (target / StoredAudit.file_name).write_bytes(stored.to_bytes())
