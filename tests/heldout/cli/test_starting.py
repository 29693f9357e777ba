"""`heldout init`: its scripts train networks and save answers that Heldout reads, and its skill is the repository's."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from analysis.answers.file import read_predictions
from heldout.cli.app import app
from heldout.cli.histories import read_history
from heldout.cli.running.script import parse_arms, parse_script
from heldout.cli.starting import TEMPLATES

# SKILL.md, and what it links to.
PAGES = sorted((Path(__file__).parents[3] / "skills" / "heldout").rglob("*.md"))


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


@pytest.mark.parametrize("what", TEMPLATES)
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


def read_commands(page: Path) -> list[tuple[list[str], bool]]:
    """Return the words of each command on a page of the skill, and whether it stands in a block, complete."""
    text = page.read_text()
    inline = [(line, False) for line in re.findall(r"`heldout (.+?)`", text)]
    in_blocks = [(line, True) for line in re.findall(r"^ *\$ heldout (.+)$", text, re.M)]
    return [(shlex.split(line), is_complete) for line, is_complete in inline + in_blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_command_line_parses_every_command_of_the_skill(page):
    commands = read_commands(page)
    assert len(commands) > 2
    for words, is_complete in commands:
        command, rest = get_command(app), list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert rest != words, words
        if rest or is_complete:
            command.make_context("heldout", rest).close()  # refuses unknown options and missing arguments


def test_the_skill_s_front_matter_follows_the_published_rules():
    """The rules: agentskills.io/specification."""
    folder = PAGES[0].parent
    _, front_matter, body = PAGES[0].read_text().split("---\n", 2)
    about = yaml.safe_load(front_matter)
    assert about.keys() <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", about["name"])
    assert (about["name"], len(about["name"]) <= 64) == (folder.name, True)
    assert 1 <= len(about["description"]) <= 1024
    assert 1 <= len(about["compatibility"]) <= 500
    assert len(body.splitlines()) < 500
    linked = set(re.findall(r"\]\((references/[\w.]+)\)", body))
    assert linked == {str(page.relative_to(folder)) for page in PAGES[1:]}, "each is linked, one level deep"


def test_init_writes_the_skill_of_the_repository_as_a_folder(heldout, tmp_path):
    for target in ("skills", "skills/heldout", "skills/heldout/SKILL.md"):
        assert heldout("init", "skill", "-o", str(tmp_path / target)).returncode == 0
        written = tmp_path / "skills" / "heldout"
        assert read_files(written) == read_files(PAGES[0].parent)
        assert heldout("init", "skill", "-o", str(tmp_path / target)).returncode == 2
        shutil.rmtree(written)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_exists_is_not_overwritten(heldout, tmp_path):
    target = write(heldout, tmp_path, "sklearn")
    before = target.read_text()
    refused = heldout("init", "keras", "-o", str(target))
    assert (refused.returncode, target.read_text()) == (2, before)
    assert "exists already" in refused.stderr
