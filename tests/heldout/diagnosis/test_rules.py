"""The structure of the diagnosis: one ordered list of rules, as documented, and thresholds in one file."""

import ast
import re
from importlib import resources
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules

import pytest

from heldout.diagnosis import diagnose, precedence, rules
from heldout.diagnosis.evaluation import Evaluation
from heldout.diagnosis.facts import collect_facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.precedence import RULES
from tests.heldout.diagnosis.made import FINE, RANDOM_LABELS, figures

PACKAGE = Path(str(resources.files("heldout.diagnosis")))
# Fitted coefficients decide nothing and are generated.
NUMBERS = {"thresholds.py", "confidence_fit.py", "verdict_fit.py"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in NUMBERS)
PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "diagnosis.md"
CODES = list(dict.fromkeys(rule.code for rule in RULES))


def numbers_in(node: ast.AST) -> list[float]:
    found = [child.value for child in ast.walk(node) if isinstance(child, ast.Constant)]
    return [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_thresholds_are_in_one_file_only(path):
    """No module defines a number, and no function compares with a fraction that `thresholds` does not name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            assert numbers_in(node.value) == [], f"line {node.lineno} defines a number"
    fractions = {value for value in numbers_in(tree) if isinstance(value, float)} - {0.0, 1.0}
    assert fractions == set()


def test_every_threshold_says_what_it_is_and_is_used():
    text = (PACKAGE / "thresholds.py").read_text(encoding="utf-8")
    names = re.findall(r"^([A-Z_0-9]+) = ", text, re.MULTILINE)
    used = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    assert [name for name in names if not re.search(rf"\b{name}\b", used)] == []
    assert [line for line in text.splitlines() if re.match(r"[A-Z]", line) and "=" not in line] == []


def test_every_module_of_rules_is_in_the_list():
    listed = {rule.find.__module__.rpartition(".")[2] for rule in RULES}
    assert listed == {module.name for module in iter_modules(rules.__path__)}
    assert {code for rule in RULES for code in rule.silent_beside} <= set(CODES)


@pytest.mark.parametrize(
    ("severity", "evidence", "are_heard"),
    [("critical", {}, False), ("critical", {"chance_of_renaming": 0.2}, True), ("info", {}, True)],
)
def test_only_what_is_serious_and_no_chance_silences_others(severity, evidence, are_heard, monkeypatch):
    order = Finding("label_order_mismatch", severity, "The labels may be in another order.", evidence, ())
    noise = Finding("label_noise", "warning", "Some labels are wrong.", {}, ())
    listed = (
        precedence.Rule(order.code, lambda facts: order),
        precedence.Rule(noise.code, lambda facts: noise, silent_beside=(order.code,)),
    )
    monkeypatch.setattr(precedence, "RULES", listed)
    found = precedence.collect_findings(collect_facts(FINE, None, None, None))
    assert {finding.code for finding in found} == ({order.code, noise.code} if are_heard else {order.code})


def test_rules_with_the_same_code_are_adjacent():
    """The position in the list is therefore the position among equally severe findings."""
    codes = [rule.code for rule in RULES]
    assert [code for code, _ in groupby(codes)] == CODES


def test_the_documentation_lists_the_findings_in_the_order_of_the_rules():
    section = PAGE.read_text(encoding="utf-8").split("## The findings")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE) == CODES


def test_a_rule_is_silent_only_next_to_reported_findings(monkeypatch):
    """Memorized noise replaces overfitting. Without its rule, the same training is overfitting."""
    evaluation = Evaluation({"train": figures(0.99, 500), "validation": figures(0.11, 500)}, tuple("abcdefghij"))
    assert {finding.code for finding in diagnose(RANDOM_LABELS, None, evaluation).findings} == {"memorised_noise"}
    others = tuple(rule for rule in RULES if rule.code != "memorised_noise")
    monkeypatch.setattr(precedence, "RULES", others)
    assert {finding.code for finding in diagnose(RANDOM_LABELS, None, evaluation).findings} == {"overfitting"}
    assert diagnose(FINE).findings == ()
