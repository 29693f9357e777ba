"""The whole audit: what is looked at, in which order, and what is said about how thoroughly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.arrays import SPLITS
from worker.ingest.audit.copies import find_copies
from worker.ingest.audit.counts import count_findings, per_class
from worker.ingest.audit.duplicates import copy_findings
from worker.ingest.audit.groups import group_findings
from worker.ingest.audit.label_order import label_order_findings
from worker.ingest.audit.scan import SAMPLED_SIDE, scan
from worker.ingest.audit.shift import shift_findings
from worker.ingest.audit.subject import Subject
from worker.ingest.audit.values import statistics, value_findings
from worker.ingest.report import Finding
from worker.ingest.workers import Workers

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Audit:
    """Findings, worst first; statistics of each split; checks says what was compared, and how much of it."""

    findings: list[Finding]
    counts: dict[str, Any]
    statistics: dict[str, Any]
    checks: dict[str, Any]


def audit(subject: Subject, workers: Workers, progress: Callable[[int], None]) -> Audit:
    """Look at a dataset in bounded time and memory. Gives the same answer for the same dataset."""
    seen = scan(subject, workers, progress)
    light = subject.without_names()
    compared = workers.map(_compare, [("shift", light), ("label_order", light)], names=lambda task: [task[0]])
    copies = find_copies(subject.pixels, seen, subject.value_range)
    findings = [
        *count_findings(subject),
        *group_findings(subject),
        *value_findings(subject, seen),
        *copy_findings(subject, copies),
    ]
    checks: dict[str, Any] = {
        "statistics": {"sampled_side": SAMPLED_SIDE},
        "copies": {"images": len(subject.labels), "bound_reached": copies.is_bounded},
    }
    for found, of_part in compared:
        findings += [subject.named(finding) for finding in found]
        checks |= of_part
    counts = per_class(subject)
    return Audit(
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        counts={
            split: {"count": int(of_split.sum()), "per_class": of_split.tolist()}
            for split, of_split in zip(SPLITS, counts, strict=True)
        },
        statistics=statistics(subject, seen),
        checks=checks,
    )


def _compare(task: tuple[str, Subject]) -> tuple[list[Finding], dict[str, Any]]:
    name, subject = task
    if name == "shift":
        return shift_findings(subject)
    return label_order_findings(subject), {}
