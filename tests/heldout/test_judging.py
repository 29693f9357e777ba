"""The one answer of a judge, from a study's interval and conclusion."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heldout.cli.judging import judge
from heldout.cli.outcome import Exit, Refused, exit_of_answer
from heldout.cli.running.candidates import find_candidate
from heldout.documents.judging import build_judgement_page
from heldout.documents.markdown import render_markdown
from heldout.judging import ANSWERS, find_needs, judge_study
from tests.heldout import made_views


def make_study(change, half, kind=None, **needs):
    arms = [made_views.arm("base"), made_views.arm("candidate", change, 0.0, half=half)]
    arms[1]["difference"]["loss"] = None
    conclusion = kind and {"kind": kind, "remedy": None, "explanation": "x", "needs": needs or None}
    return made_views.study(arms=arms, conclusion=conclusion, objective="accuracy")


@pytest.mark.parametrize(
    ("change", "half", "kind", "answer"),
    [
        (0.03, 0.02, "cure", "better"),
        (0.03, 0.02, "better", "better"),
        (0.03, 0.02, "cannot_tell", "as_good"),  # no new seed has confirmed it
        (0.001, 0.009, "nothing_helped", "as_good"),
        (-0.005, 0.004, "nothing_helped", "as_good"),  # surely lower, but within the margin
        (-0.03, 0.02, "nothing_helped", "worse"),
        (-0.01, 0.02, "nothing_helped", "cannot_tell"),
        (0.02, 0.05, "cannot_tell", "cannot_tell"),
    ],
)
def test_the_interval_and_the_study_decide_the_answer(change, half, kind, answer):
    assert judge_study(make_study(change, half, kind)) == answer


def test_what_would_tell_is_the_studys_own_or_follows_from_the_interval():
    assert find_needs(make_study(0.02, 0.05, "cannot_tell", seeds=4)).seeds == 4
    # Three seeds give ±2 points around +1 point; ±2 points is just the distance to −1 point.
    assert find_needs(make_study(0.01, 0.02, "nothing_helped")).seeds == 1
    assert find_needs(make_study(0.0, 0.02, "nothing_helped")).seeds == 9
    assert find_needs(make_study(-0.01, 0.02, "nothing_helped")).seeds is None


def test_each_answer_has_an_exit_code_of_its_own():
    codes = [exit_of_answer(answer) for answer in ANSWERS]
    assert codes == [0, 10, 11, 12, 13]
    assert set(codes[1:]).isdisjoint({Exit.FAILED, Exit.REFUSED, Exit.CANCELLED, Exit.NO_SERVICE})


def test_markdown_begins_with_the_answer_and_names_stay_text():
    compared = {"base": "main", "candidate": "`x` <img src=x> | [a](b) @team"}
    text = render_markdown(build_judgement_page(make_study(0.03, 0.02, "cure"), "better", 0.01, compared))
    assert text.startswith("# Heldout: The candidate is better than the base.\n")
    assert "changes by +3.0 points, very likely between +1.0 and +5.0" in text
    assert "<img" not in text
    assert "[a](b)" not in text
    assert "\\@team" in text


def test_sides_are_scripts_configurations_or_commits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "a.json").write_text("{}")
    command = f"{sys.executable} a.py --seed {{seed}} --out {{out}}"
    script = find_candidate("a.py", None)
    assert script.script.fill({"seed": 3, "out": "o.npz"}) == [sys.executable, "a.py", "--seed", "3", "--out", "o.npz"]
    (tmp_path / "a.py").write_text("2")
    assert find_candidate("a.py", None).parameters["sha256"] != script.parameters["sha256"]
    configuration = find_candidate("a.json", f"{command} --config {{config}}")
    assert configuration.parameters["config"] == str(tmp_path / "a.json")
    for text, given, why in (
        ("b.py", None, "no such script"),
        (f"{sys.executable} a.py --out {{out}}", None, "expected {seed}"),
        ("b.json", f"{command} {{config}}", "no such configuration"),
        ("main", command, "no such commit"),
        ("--upload-pack=x", command, "expected a commit"),
    ):
        with pytest.raises(Refused, match=why):
            find_candidate(text, given)
    assert subprocess.run(["git", "status"], capture_output=True, cwd=tmp_path, check=False).returncode


def test_the_manual_gives_each_answer_with_its_exit_code():
    page = (Path(__file__).parents[2] / "docs/how-to/judge.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+) \|", page, re.MULTILINE)
    listed = {answer.replace(" ", "_"): int(code) for answer, code in rows}
    assert listed == {answer: exit_of_answer(answer) for answer in ANSWERS}


def test_accuracy_decides_unless_another_measure_is_named_as_the_help_says():
    default = inspect.signature(judge).parameters["objective"].default
    assert default == "accuracy"
    reference = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text(encoding="utf-8")
    [row] = [line for line in reference.partition("### `heldout judge`")[2].splitlines() if "`--objective`" in line][:1]
    assert f"`{default}` | The measure of validation that decides." in row
