"""Every verdict and every term of the gap has its words."""

from typing import get_args

from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.diagnosis.gap.budget import TermCode
from heldout.diagnosis.precedence import RULES
from heldout.words.labels import TERMS, VERDICT_NAMES, name_of
from heldout.words.verdicts import WORDS


def test_every_verdict_has_a_name_and_a_headline():
    codes = {CANNOT_TELL, HEALTHY, *(rule.code for rule in RULES)}
    assert set(VERDICT_NAMES) == codes
    assert set(WORDS) == codes - {CANNOT_TELL, HEALTHY}
    assert name_of("of_a_later_release") == "of a later release"


def test_every_term_has_its_words():
    assert set(TERMS) == set(get_args(TermCode))
