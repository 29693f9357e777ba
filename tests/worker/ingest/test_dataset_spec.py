"""Specs of datasets: what is accepted and what is refused."""

import pytest
from pydantic import ValidationError

from heldout.spec.dataset import DatasetSpec

FULL = {
    "name": "pets",
    "description": "Cats and dogs.",
    "splits": {"existing": "merge", "test": 0.25, "validation": 0.2, "seed": 3},
    "group_by": r"/(\d+)_",
    "resize": {"height": 64, "width": 48, "rule": "pad"},
    "colour": "rgb",
}


@pytest.mark.parametrize("name", ["My Pets", "-pets", "x" * 65, ""])
def test_an_invalid_name_is_refused_with_an_explanation_in_words(name):
    with pytest.raises(ValidationError, match=r"lowercase letters \(a to z\), digits") as caught:
        DatasetSpec(name=name)
    assert "[a-z" not in str(caught.value)


def test_only_a_name_is_required():
    spec = DatasetSpec.model_validate({"name": "pets"})
    assert (spec.splits.test, spec.splits.validation, spec.splits.seed) == (0.2, 0.1, 0)
    assert (spec.group_by, spec.resize, spec.colour, spec.splits.existing) == (None, None, "auto", "keep")


def test_null_means_default():
    assert DatasetSpec.model_validate({"name": "pets", "splits": None, "resize": None, "group_by": None}) == (
        DatasetSpec(name="pets")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Pets"},
        {"name": "-pets"},
        {"name": "p" * 65},
        {"name": "pets@3"},
        {"name": "pets/3"},
        {"name": "pets\n"},
        {"name": "ds_01"},
        {"name": None},
        {"description": "d" * 2001},
        {"splits": {"test": 0}},
        {"splits": {"test": 0.6}},
        {"splits": {"validation": float("nan")}},
        {"splits": {"train": 0.5}},
        {"group_by": "["},
        {"group_by": "no group"},
        {"group_by": "(two)(groups)"},
        {"group_by": "(" * 99},
        {"group_by": "(" + "x" * 200 + ")"},
        {"resize": {"height": 64, "width": 64}},
        {"resize": {"height": 7, "width": 64, "rule": "pad"}},
        {"resize": {"height": 64, "width": 513, "rule": "pad"}},
        {"resize": {"height": 64, "width": 64, "rule": "fit"}},
        {"colour": "gray"},
        {"colours": "rgb"},
    ],
    ids=str,
)
def test_invalid_fields_are_refused(change):
    with pytest.raises(ValidationError):
        DatasetSpec.model_validate({**FULL, **change})


def test_a_non_capturing_group_may_be_added():
    assert DatasetSpec(name="pets", group_by=r"(?:cat|dog)/(\d+)_").group_by == r"(?:cat|dog)/(\d+)_"
