"""Verdicts and terms of the gap are called the same on the dashboard, in the terminal and in reports."""

import re
from pathlib import Path
from typing import get_args

from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.diagnosis.gap.budget import TermCode
from heldout.diagnosis.gap.term_words import TERM_MEANINGS, TERM_NAMES, TERM_PHRASES
from heldout.diagnosis.headlines import WORDS
from heldout.diagnosis.precedence import RULES
from heldout.diagnosis.verdict_words import VERDICT_NAMES, name_of

DASHBOARD = (Path(__file__).parents[3] / "web/src/words/verdicts.ts").read_text()


def table(name: str) -> str:
    [found] = re.findall(rf"const {name}: Record<[^=]*> = \{{(.*?)\n\}}", DASHBOARD, re.DOTALL)
    return found


def test_every_verdict_has_a_name_and_the_dashboard_has_the_same():
    codes = {CANNOT_TELL, HEALTHY, *(rule.code for rule in RULES)}
    assert set(VERDICT_NAMES) == codes
    assert set(WORDS) == codes - {CANNOT_TELL, HEALTHY}
    assert dict(re.findall(r"(\w+): \['([^']+)'", table("VERDICTS"))) == dict(VERDICT_NAMES)
    assert name_of("of_a_later_release") == "of a later release"


def test_every_term_has_one_name_and_the_dashboard_has_the_same():
    codes = set(get_args(TermCode))
    assert set(TERM_NAMES) == set(TERM_PHRASES) == set(TERM_MEANINGS) == codes
    assert dict(re.findall(r"(\w+): '([^']+)'", table("TERMS"))) == dict(TERM_NAMES)
    for code in codes - {"late_epochs"}:
        assert TERM_PHRASES[code].removeprefix("the ").removeprefix("a ") == TERM_NAMES[code].lower()
