"""Versions of files in the blob store, of earlier and later releases."""

import json
import math

import pytest
from pydantic import ValidationError

from heldout.errors import FileOfLaterRelease
from heldout.stored.audit import StoredAudit
from heldout.stored.evaluation import StoredEvaluation

SPLIT = {
    "confusion": [[9, 1], [0, 10]],
    "per_class": [
        {"count": 10, "precision": 1.0, "recall": 0.9, "f1": 0.95},
        {"count": 10, "precision": 10 / 11, "recall": 1.0, "f1": None},
    ],
    "calibration_error": 0.02,
    "mistakes": [{"index": 17, "label": 0, "answer": 1, "probability": 0.99}],
}
EVALUATION = {"classes": ["cat", "Łoś"], "splits": {"train": SPLIT, "validation": SPLIT}}
EXAMPLE = {"split": "test", "index": 3, "member": "test/cat/3.png"}
AUDIT = {
    "object": "audit",
    "sha256": "a" * 64,
    "splits": {"train": {"count": 2, "per_class": [1, 1]}},
    "statistics": {"train": {"mean": 0.5}},
    "findings": [
        {
            "code": "leakage",
            "severity": "critical",
            "numbers": {"test_in_train": {"images": 3, "share": 0.1}},
            "explanation": "Copies.",
            "what_to_do": "Remove them.",
            "examples": [EXAMPLE],
            "pairs": [[EXAMPLE, EXAMPLE]],
        }
    ],
    "checks": {"copies": {"images": 2}},
    "source": {"format": "npz"},
}
BOTH = pytest.mark.parametrize(("kind", "content"), [(StoredAudit, AUDIT), (StoredEvaluation, EVALUATION)])


@BOTH
def test_a_file_of_the_first_releases_is_read_as_version_1(kind, content):
    read = kind.from_bytes(json.dumps(content).encode())
    assert read.format == 1
    assert read.model_dump(mode="json", exclude_unset=True) == content


@BOTH
def test_a_file_has_its_version_and_is_read_unchanged(kind, content):
    written = kind.model_validate(content)
    assert json.loads(written.to_bytes())["format"] == 1
    assert kind.from_bytes(written.to_bytes()) == written


@BOTH
def test_an_unknown_version_is_refused_whatever_the_file_contains(kind, content):
    for later in ({"format": 2}, {**content, "format": 2}):
        with pytest.raises(FileOfLaterRelease, match=rf"{kind.file_name} is stored in version 2 .* reads up to 1"):
            kind.from_bytes(json.dumps(later).encode())


@BOTH
def test_an_unknown_field_is_ignored(kind, content):
    assert kind.from_bytes(json.dumps({**content, "later": True}).encode()) == kind.model_validate(content)


@BOTH
@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b'{"format": 0}', b'{"format": "2"}'])
def test_a_damaged_file_is_an_error_and_not_a_later_release(kind, content, damaged):
    with pytest.raises(ValueError):  # noqa: PT011 - of JSON or of the model
        kind.from_bytes(damaged)


def test_a_number_that_is_not_finite_is_never_stored():
    split = {**SPLIT, "calibration_error": math.nan}
    broken = StoredEvaluation.model_validate({**EVALUATION, "splits": {"train": split}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.to_bytes()


def test_a_severity_that_does_not_exist_is_refused():
    finding = {**AUDIT["findings"][0], "severity": "mild"}
    with pytest.raises(ValidationError):
        StoredAudit.model_validate({**AUDIT, "findings": [finding]})
