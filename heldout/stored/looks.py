"""What the features of a dataset show: `looks.json`. The features themselves are in `features.npz`."""

from typing import ClassVar

from pydantic import Field

from heldout.stored.audit import AuditFinding
from heldout.stored.file import StoredFile

FEATURES_FILE = "features.npz"


class StoredLooks(StoredFile):
    """The findings that come from features, and how the features were computed.

    model, model_sha256: the pretrained network. seen_as: height and width of the images given to it.
    findings: as of the audit, the most serious first.
    leakage: copies across splits besides those of the audit, whose finding it joins.
    copies: their positions in the dataset, the held-out image first.
    """

    file_name: ClassVar[str] = "looks.json"

    model: str
    model_sha256: str
    images: int = Field(description="Number of images in the dataset.")
    sampled: int = Field(description="Number of images that have features.")
    seen_as: tuple[int, int]
    findings: tuple[AuditFinding, ...] = ()
    leakage: AuditFinding | None = None
    copies: tuple[tuple[int, int], ...] = ()

    @property
    def group_rule(self) -> str | None:
        """The rule for file names whose groups the features confirm; None without."""
        rules = (found.numbers["rule"] for found in self.findings if found.code == "names_suggest_groups")
        return next(rules, None)


def make_features_key(dataset_id: str) -> str:
    """Make the key of the features of a dataset."""
    return f"datasets/{dataset_id}/{FEATURES_FILE}"


def make_looks_key(dataset_id: str) -> str:
    """Make the key of what the features of a dataset show."""
    return f"datasets/{dataset_id}/{StoredLooks.file_name}"
