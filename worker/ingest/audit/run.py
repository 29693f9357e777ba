"""The whole audit: which checks run, in which order, and how their findings are combined."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.copies import Copies
from worker.ingest.audit.counts import compute_statistics, count_findings, count_per_class, find_value_faults
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.duplicates import list_copy_findings
from worker.ingest.audit.samples import find_label_order
from worker.ingest.audit.scan import SAMPLED_SIDE, Scan
from worker.ingest.audit.shift import find_shift
from worker.ingest.pool import ProcessPool

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Audit:
    """The fields of a `StoredAudit` that are computed from the images. splits: their counts. findings: worst first."""

    splits: dict[str, dict[str, Any]]
    statistics: dict[str, Any]
    findings: list[AuditFinding]
    checks: dict[str, Any]


def audit(dataset: IngestedDataset, seen: Scan, copies: Copies, pool: ProcessPool) -> Audit:
    """Audit a dataset whose scan and copies are known. The answer is the same each time."""
    light = replace(dataset, names=())  # names would take long to send to other processes
    compared = pool.map(_compare, [("shift", light), ("label_order", light)], names=lambda task: [task[0]])
    findings = [
        *count_findings(dataset),
        *list_group_findings(dataset),
        *find_value_faults(dataset, seen),
        *list_copy_findings(dataset, copies),
    ]
    checks: dict[str, Any] = {
        "statistics": {"sampled_side": SAMPLED_SIDE},
        "copies": {"images": len(dataset.labels), "bound_reached": copies.is_bounded},
    }
    for found, of_part in compared:
        findings += [dataset.named(finding) for finding in found]
        checks |= of_part
    counts = count_per_class(dataset)
    return Audit(
        splits={
            split: {"count": int(of_split.sum()), "per_class": of_split.tolist()}
            for split, of_split in zip(SPLITS, counts, strict=True)
        },
        statistics=compute_statistics(dataset, seen),
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        checks=checks,
    )


def _compare(task: tuple[str, IngestedDataset]) -> tuple[list[AuditFinding], dict[str, Any]]:
    name, dataset = task
    if name == "shift":
        return find_shift(dataset)
    return find_label_order(dataset), {}


def list_group_findings(dataset: IngestedDataset) -> list[AuditFinding]:
    """A finding if a group has images in several splits."""
    if dataset.groups is None:
        return []
    count = int(np.max(dataset.groups)) + 1
    per_split = np.stack([np.bincount(dataset.groups[dataset.splits[split]], minlength=count) for split in SPLITS])
    crossing = np.flatnonzero((per_split > 0).sum(axis=0) > 1)
    if not len(crossing):
        return []
    images = np.flatnonzero(np.isin(dataset.groups, crossing))
    return [
        AuditFinding(
            code="group_across_splits",
            severity="critical",
            numbers={
                "groups": count,
                "crossing": len(crossing),
                **{
                    f"{split}_images": int(of_split[crossing].sum())
                    for split, of_split in zip(SPLITS, per_split, strict=True)
                },
            },
            explanation=f"{len(crossing):,} of {count:,} groups ({rough_percent(len(crossing) / count)}) have images "
            "in several splits of the upload. A network that has seen a part of a group in training recognises the "
            "rest of it: results on held-out images look better than they are.",
            what_to_do="Split the images again, keeping groups whole: `splits: {existing: merge}` (`--merge`).",
            examples=dataset.examples(images),
        )
    ]
