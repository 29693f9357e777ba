"""Findings give counts and shares whose rounding does not mislead."""

import pytest

from heldout.words import rough_percent
from worker.ingest.audit.dataset import describe_part
from worker.ingest.rejection import list_some


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0%"),
        (0.000001, "less than 0.001%"),
        (0.0059, "0.6%"),
        (0.108, "11%"),
        (0.9999, "more than 99%"),
        (1.0, "100%"),
    ],
)
def test_a_share_is_not_rounded_to_none_or_all(share, shown):
    assert rough_percent(share) == shown


def test_counts_come_first_then_the_whole_then_the_share():
    assert describe_part(45, 416, "validation") == "45 of 416 validation images (11%)"
    assert describe_part(1_200, 5_000) == "1,200 of 5,000 images (24%)"


def test_a_long_list_says_how_many_more_there_are():
    assert list_some(["cat", "dog"]) == "cat, dog"
    assert list_some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
