"""`heldout init`: its scripts train networks, and save answers that Heldout reads."""

import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from analysis.answers.file import read_predictions
from heldout.cli.app import COMMANDS
from heldout.cli.histories import read_history
from heldout.cli.running.script import parse_arms, parse_script
from heldout.cli.starting import TEMPLATES

SCRIPTS = [name for name in TEMPLATES if name != "skill"]


def write(heldout, folder: Path, what: str) -> Path:
    target = folder / f"{what}.out"
    assert heldout("init", what, "-o", str(target)).returncode == 0
    return target


def run(script: Path, *arguments: str) -> None:
    """Run a script as a program, but in this process, which has imported its libraries."""
    named = script.rename(script.with_name("train.py"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings do not end a separate program
        patch.chdir(script.parent)
        patch.setattr(sys, "argv", [named.name, *arguments])
        runpy.run_path(str(named), run_name="__main__")


def read_answers(file: Path):
    with file.open("rb") as opened:
        return read_predictions(opened, 2**24)


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_is_short_and_names_a_valid_command_for_itself(heldout, tmp_path, what):
    script = write(heldout, tmp_path, what)
    text = script.read_text()
    assert len(text.splitlines()) <= 30
    for words in (("check", "--select=E,F,I,UP"), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length=120", "--stdin-filename=a.py", "-"]
        usual = text.replace(str(script), "train.py")
        checked = subprocess.run(ruff, input=usual, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
    [command] = re.findall(r'^# heldout cure --run "(.+?)" (.+)$', text, re.M)
    arms = parse_arms(re.findall(r"--arm (\S+)", command[1]))
    filled = parse_script(command[0].replace("python", sys.executable, 1)).fill(
        {"seed": 1, "out": "x.npz", **arms[1]["parameters"]}
    )
    assert filled[1] == str(script)
    known = set(re.findall(r'add_argument\("(--\w+)"', text))
    assert {argument for argument in filled if argument.startswith("--")} == known


def test_the_script_for_scikit_learn_saves_its_answers(heldout, tmp_path):
    run(write(heldout, tmp_path, "sklearn"), "--seed", "3", "--out", "answers.npz")
    answers = read_answers(tmp_path / "answers.npz")
    assert {name: len(split) for name, split in answers.splits.items()} == {"validation": 359, "test": 360}
    assert answers.splits["test"].right.mean() > 0.9


def test_the_script_for_keras_saves_its_answers_and_curves(heldout, tmp_path):
    run(write(heldout, tmp_path, "keras"), "--out", "answers.npz")
    answers = read_answers(tmp_path / "answers.npz")
    assert {name: len(split) for name, split in answers.splits.items()} == {"validation": 359, "test": 360}
    assert answers.splits["test"].right.mean() > 0.9
    assert len(read_history(tmp_path / "answers.history.json").history.validation_loss) == 20


def test_the_skill_names_only_commands_that_exist(heldout, tmp_path):
    text = write(heldout, tmp_path, "skill").read_text()
    assert text.startswith("---\nname: heldout\ndescription: ")
    named = set(re.findall(r"`?heldout (\w+)", text))
    known = {command.__name__ for command in COMMANDS} | {"datasets", "studies", "models", "up", "check"}
    assert named <= known | {"looks"}


def test_a_file_that_exists_is_not_overwritten(heldout, tmp_path):
    target = write(heldout, tmp_path, "skill")
    before = target.read_text()
    refused = heldout("init", "keras", "-o", str(target))
    assert (refused.returncode, target.read_text()) == (2, before)
    assert "exists already" in refused.stderr
