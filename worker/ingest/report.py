"""What an ingest answers: the dataset as it is stored, where it came from, and the findings of its audit."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]

# Every code of a finding, for those who branch on it and for the reference page.
FINDINGS = {
    "leakage": "Images of one split also appear in another.",
    "label_conflicts": "Copies of one image have different labels.",
    "duplicates": "Images occur more than once in a split.",
    "group_across_splits": "A group of the group rule has images in several splits of the upload.",
    "class_missing": "A class has no images in a split.",
    "class_imbalance": "Some classes have many more training images than others.",
    "class_shift": "Classes are not equally frequent in all splits.",
    "test_too_small": "The test split is too small to show small differences.",
    "scale_mismatch": "The pixel values of two splits are on different scales.",
    "inverted_values": "Light and dark are swapped between two splits.",
    "channel_order_mismatch": "The colour channels of two splits are in different orders.",
    "orientation_mismatch": "The images of two splits are turned or mirrored against each other.",
    "label_order_mismatch": "A split names the classes in another order than train does.",
    "split_shift": "The images of two splits are not of the same kind.",
    "blank_images": "Images have one colour throughout.",
    "narrow_range": "The images use a small part of their value range.",
    "grey_as_rgb": "All images have three channels that are equal.",
}


@dataclass(frozen=True)
class Example:
    """One image: its split, its row in `images.npy` and its name in the upload."""

    split: str
    index: int
    member: str


@dataclass(frozen=True)
class Finding:
    """Something that the audit found; `numbers` are finite, `pairs` are images that belong together."""

    code: str
    severity: Severity
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[Example] = field(default_factory=list)
    pairs: list[tuple[Example, Example]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.code not in FINDINGS:
            raise ValueError(f"{self.code!r} is no code of a finding")


@dataclass(frozen=True)
class Report:
    """A dataset that was made of an upload.

    shape is (height, width, channels); range the pixel values that the source can hold; splits has for train,
    validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images and labels; source
    says format, members and how the splits came about; size_bytes is that of the four files of the internal format.
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
