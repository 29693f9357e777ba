"""Remedies are called the same in reports, on the command line and on the dashboard."""

import re
from pathlib import Path

from heldout.remedies.catalogue import AFTER_TRAINING, REMEDIES
from heldout.remedy_words import named, words_of

DASHBOARD = Path(__file__).parents[3] / "web/src/words/verdicts.ts"
WHAT_THEY_DO = DASHBOARD.with_name("remedies.ts")


def test_the_dashboard_calls_each_remedy_as_reports_do():
    [table] = re.findall(r"const REMEDIES: Record<string, string> = \{(.*?)\}", DASHBOARD.read_text(), re.DOTALL)
    shown = dict(re.findall(r"(\w+): '([^']+)'", table))
    names = [*REMEDIES, *AFTER_TRAINING]
    assert set(shown) <= set(names)
    assert {name: shown.get(name, name.replace("_", " ")) for name in names} == {n: words_of(n) for n in names}


def test_the_dashboard_says_what_each_remedy_does_as_the_catalogue_does():
    table = re.findall(r"^  (\w+): '(.*)',$", WHAT_THEY_DO.read_text(), re.MULTILINE)
    assert {name: said.replace("\\'", "'") for name, said in table} == {n: one.reason for n, one in REMEDIES.items()}


def test_combinations_and_lists_are_said_in_words():
    assert words_of("l2+label_smoothing") == "L2 penalty + label smoothing"
    assert named(["dropout"]) == '"dropout"'
    assert named(["ema", "mixup", "my_own"]) == '"averaged weights", "mixup" and "my own"'
