"""A dataset goes from `uploading` through `checking` to `ready` or `rejected`, and never back."""

import re
from itertools import product
from pathlib import Path

import pytest

from heldout.lifecycle.job import DETERMINISTIC_FAILURES
from heldout.lifecycle.resources import (
    RETRIED_REJECTIONS,
    DatasetEvent,
    DatasetStatus,
    ImpossibleTransition,
    RejectionCode,
    get_next_dataset_status,
)

# What each event does by the contract's `uploading → checking → ready | rejected`, independently of the code's table.
ALLOWED = {
    ("uploading", "receive"): "checking",
    ("uploading", "expire"): "rejected",
    ("checking", "accept"): "ready",
    ("checking", "reject"): "rejected",
    ("rejected", "resize"): "checking",
}


@pytest.mark.parametrize(("status", "event"), [*product(DatasetStatus, DatasetEvent)])
def test_every_event_in_every_state_leads_where_the_contract_says_or_is_refused(status, event):
    expected = ALLOWED.get((status.value, event.value))
    if expected is not None:
        assert get_next_dataset_status(status, event) == expected
        return
    with pytest.raises(ImpossibleTransition, match=f"A {status.value} dataset cannot {event.value}"):
        get_next_dataset_status(status, event)


def test_the_how_to_lists_the_states_in_order():
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "datasets.md").read_text(encoding="utf-8")
    [flow] = re.findall(r"`(uploading → [a-z→| ]+)`", page)
    assert re.findall(r"[a-z]+", flow) == [status.value for status in DatasetStatus]


def test_a_rejection_code_is_a_word_with_a_meaning_in_one_sentence():
    for code in RejectionCode:
        assert re.fullmatch(r"[a-z][a-z0-9_]+", code.value)
        assert re.fullmatch(r"[A-Z][^.]*\.", code.meaning)
        assert RejectionCode(code.value) is code


def test_deterministic_rejections_are_not_retried():
    assert RETRIED_REJECTIONS.isdisjoint(DETERMINISTIC_FAILURES)
