"""What an ingest answers: the dataset as it was stored, where it came from, and what its audit found."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Example:
    """One image: its split, its row in `images.npy` and its name in the upload."""

    split: str
    index: int
    member: str


@dataclass(frozen=True)
class Finding:
    """Something that the audit saw; `numbers` are finite, `pairs` are images that are compared."""

    code: str
    severity: Severity
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[Example] = field(default_factory=list)
    pairs: list[tuple[Example, Example]] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """A dataset that was taken.

    shape is (height, width, channels); range the pixel values that the source can hold; splits has for train,
    validation and test `count` and `per_class`, in the order of `classes`; source says format, members and how the
    splits came about; size_bytes is that of the four files of the internal format.
    """

    shape: tuple[int, int, int]
    dtype: str
    range: tuple[float, float]
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    sha256: str
    size_bytes: int
    source: dict[str, Any]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Report":
        return cls(
            **{
                **data,
                "shape": tuple(data["shape"]),
                "range": tuple(data["range"]),
                "classes": tuple(data["classes"]),
                "findings": [_finding(found) for found in data["findings"]],
            }
        )


def _finding(data: dict[str, Any]) -> Finding:
    pairs = [(Example(**one), Example(**other)) for one, other in data["pairs"]]
    return Finding(**{**data, "examples": [Example(**example) for example in data["examples"]], "pairs": pairs})
