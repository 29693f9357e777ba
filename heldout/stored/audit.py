"""`audit.json`: the findings about a dataset. The worker writes it; the API and the diagnosis read it."""

from typing import Any, ClassVar, Literal

from heldout.stored.file import StoredFile, StoredPart

Severity = Literal["info", "warning", "critical"]


class SplitCounts(StoredPart):
    """Number of images in a split. per_class: in the order of the dataset's classes."""

    count: int
    per_class: tuple[int, ...]


class AuditExample(StoredPart):
    """One image: its split, its row in `images.npy`, and its name in the upload."""

    split: str
    index: int
    member: str


class AuditFinding(StoredPart):
    """A finding of the audit. The content of `numbers` depends on the code."""

    code: str
    severity: Severity
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: tuple[AuditExample, ...] = ()
    pairs: tuple[tuple[AuditExample, AuditExample], ...] = ()


class StoredAudit(StoredFile):
    """The audit of one dataset.

    findings: the most serious first.
    statistics: statistics of the pixel values, by split.
    checks: what was compared, and how much of it.
    source: the upload's format, image encodings, and how the splits were made.
    """

    file_name: ClassVar[str] = "audit.json"

    object: Literal["audit"] = "audit"
    sha256: str
    splits: dict[str, SplitCounts]
    statistics: dict[str, Any]
    findings: tuple[AuditFinding, ...]
    checks: dict[str, Any]
    source: dict[str, Any]


def preview_key(dataset_id: str, class_number: int) -> str:
    """The key of the contact sheet of one class of an uploaded dataset."""
    return f"datasets/{dataset_id}/preview/{class_number}.png"


def audit_key(dataset_id: str) -> str:
    """The key of the audit of an uploaded dataset."""
    return f"datasets/{dataset_id}/{StoredAudit.file_name}"
