"""What an ingest answers: the dataset as it is stored, where it came from, and the findings of its audit."""

from dataclasses import dataclass
from typing import Any

from heldout.stored.audit import AuditFinding


@dataclass(frozen=True)
class IngestReport:
    """A dataset that was made of an upload.

    shape is (height, width, channels); range the pixel values that the source can hold; splits has for train,
    validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images and labels; source
    says format, members and how the splits came about; size_bytes is that of the four files of the internal
    format; different are positions of images that somebody has told apart.
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
