"""What `heldout judge` compares: two commits, two configurations or two scripts, each as an arm with its command."""

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heldout.cli.outcome import Refused
from heldout.cli.running.memory import FOLDER
from heldout.cli.running.script import ANSWERS, SEED, Script, parse_script

# The placeholder of `--run` that a configuration's path replaces.
CONFIG = "config"
DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Candidate:
    """One side of a judgement. parameters: what its trainings get, and what identifies it in the study."""

    name: str
    script: Script
    parameters: Mapping[str, Any]


def find_candidate(text: str, command: str | None) -> Candidate:
    """Find out what a side is: with `--run`, a configuration or a commit; without, a script or a command.

    Raises:
        Refused: there is no such file or commit, or the command lacks `{seed}` or `{out}`.
    """
    if command is None:
        return _make_script(text)
    script = _parse(command)
    return _make_configuration(text, script) if CONFIG in script.names else _make_commit(text, script)


def check_out(candidate: Candidate) -> Candidate:
    """Return the candidate with its commit checked out in a folder of its own."""
    if candidate.script.folder is None:
        return candidate
    folder = candidate.script.folder
    if not folder.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", "--force", str(folder), candidate.parameters["commit"])
    return replace(candidate, script=replace(candidate.script, folder=folder.absolute()))


def _make_script(text: str) -> Candidate:
    is_file = text.endswith(".py") and "{" not in text
    if is_file and not Path(text).is_file():
        raise Refused(f"{text}: there is no such script.")
    python = shlex.quote(sys.executable)
    script = _parse(f"{python} {shlex.quote(text)} --seed {{seed}} --out {{out}}" if is_file else text)
    files = [Path(argument) for argument in script.arguments[1:] if "{" not in argument]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file()))
    return Candidate(text, script, {"command": text[:512], "sha256": digest.hexdigest()[:DIGEST_LENGTH]})


def _make_configuration(text: str, script: Script) -> Candidate:
    file = Path(text)
    if not file.is_file():
        raise Refused(f"{text}: there is no such configuration. --run has {{config}}, so both sides are files.")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:DIGEST_LENGTH]
    return Candidate(text, script, {CONFIG: str(file.absolute()), "sha256": digest})


def _make_commit(text: str, script: Script) -> Candidate:
    if text.startswith("-"):
        raise Refused(f"{text}: expected a commit, such as main or HEAD.")
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if not commit:
        raise Refused(f"{text}: there is no such commit here. For two configurations, --run needs {{config}}.")
    folder = Path(FOLDER) / "commits" / commit[:DIGEST_LENGTH]
    return Candidate(f"{text} ({commit[:9]})", replace(script, folder=folder), {"commit": commit})


def _parse(command: str) -> Script:
    script = parse_script(command)
    for name in (SEED, ANSWERS):
        if name not in script.names:
            raise Refused(f"{command}: expected {{{name}}} in the command. The study fills it in for each training.")
    return script


def _git(*arguments: str) -> str:
    """Run git, and return what it printed; nothing if `rev-parse` finds nothing. Raises Refused."""
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refused("Two commits are compared with git, which is not installed.") from None
    if found.returncode and arguments[0] != "rev-parse":
        raise Refused(f"git {arguments[0]}: {found.stderr.strip().splitlines()[-1]}")
    return found.stdout.strip()
