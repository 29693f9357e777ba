"""The whole audit: which parts run, in which order, and how their findings are put together."""

from dataclasses import dataclass
from typing import Any

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from worker.ingest.audit.codes import require_known
from worker.ingest.audit.copies import Copies
from worker.ingest.audit.counts import count_findings, per_class
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import copy_findings
from worker.ingest.audit.groups import group_findings
from worker.ingest.audit.label_order import label_order_findings
from worker.ingest.audit.scan import SAMPLED_SIDE, Scan
from worker.ingest.audit.shift import shift_findings
from worker.ingest.audit.values import statistics, value_findings
from worker.ingest.pool import ProcessPool

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Audit:
    """Findings, worst first; statistics of each split; all copies; checks says what was compared, how much of it."""

    findings: list[AuditFinding]
    counts: dict[str, Any]
    statistics: dict[str, Any]
    copies: Copies
    checks: dict[str, Any]


def audit(dataset: IngestedDataset, seen: Scan, copies: Copies, pool: ProcessPool) -> Audit:
    """Audit a dataset, whose scan and copies are there. Gives the same answer for the same dataset."""
    light = dataset.without_names()
    compared = pool.map(_compare, [("shift", light), ("label_order", light)], names=lambda task: [task[0]])
    findings = [
        *count_findings(dataset),
        *group_findings(dataset),
        *value_findings(dataset, seen),
        *copy_findings(dataset, copies),
    ]
    checks: dict[str, Any] = {
        "statistics": {"sampled_side": SAMPLED_SIDE},
        "copies": {"images": len(dataset.labels), "bound_reached": copies.is_bounded},
    }
    for found, of_part in compared:
        findings += [dataset.named(finding) for finding in found]
        checks |= of_part
    require_known(findings)
    counts = per_class(dataset)
    return Audit(
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        counts={
            split: {"count": int(of_split.sum()), "per_class": of_split.tolist()}
            for split, of_split in zip(SPLITS, counts, strict=True)
        },
        statistics=statistics(dataset, seen),
        copies=copies,
        checks=checks,
    )


def _compare(task: tuple[str, IngestedDataset]) -> tuple[list[AuditFinding], dict[str, Any]]:
    name, dataset = task
    if name == "shift":
        return shift_findings(dataset)
    return label_order_findings(dataset), {}
