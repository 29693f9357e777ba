"""The result of an ingest: the stored dataset, where it came from, and the findings of its audit."""

from dataclasses import dataclass
from typing import Any

from heldout.stored.audit import AuditFinding


@dataclass(frozen=True)
class IngestReport:
    """A dataset that was made from an upload.

    shape is (height, width, channels), and range the pixel values that the source can hold. splits has for train,
    validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images and labels. source
    describes format, members and the origin of the splits. size_bytes is the size of the four files of the internal
    format. different are positions of images that a user marked as different.
    """

    shape: tuple[int, int, int]
    dtype: str
    range: tuple[float, float]
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    sha256: str
    size_bytes: int
    source: dict[str, Any]
    findings: tuple[AuditFinding, ...]
    different: tuple[tuple[int, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "findings": [finding.model_dump(mode="json") for finding in self.findings]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "IngestReport":
        return cls(
            **{
                **data,
                "shape": tuple(data["shape"]),
                "range": tuple(data["range"]),
                "classes": tuple(data["classes"]),
                "findings": tuple(AuditFinding.model_validate(found) for found in data["findings"]),
                "different": tuple((int(first), int(second)) for first, second in data["different"]),
            }
        )
