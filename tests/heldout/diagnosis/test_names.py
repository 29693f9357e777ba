"""Verdicts and terms of the gap have names."""

from typing import get_args

from heldout.diagnosis.gap import TermCode
from heldout.words.labels import TERMS, get_verdict_name


def test_an_unknown_verdict_is_named_after_its_code():
    assert (get_verdict_name("leakage"), get_verdict_name("of_a_later_release")) == (
        "copied images",
        "of a later release",
    )


def test_every_term_has_its_words():
    assert set(TERMS) == set(get_args(TermCode))
