"""Judges a pull request or merge request: `judging.py PROGRAM`, in its checkout, where PROGRAM is `heldout`.

It runs next to the judged code, so nothing that it writes is trusted, and it is given no token. `commenting.py` reads
the answer in another job.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from answers import ANSWERS, FILE, NotShown, check_answer, read_answer

OPTIONS = ("budget_jobs", "jobs", "margin", "objective", "seeds", "timeout")
MOST_BYTES = 64 * 1024
# All that the judged code gets of the job's environment, with what the configuration names.
INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
CHANGED = "This pull request changes the judge's configuration. The configuration of the base branch counted."


class Refused(Exception):
    """Nothing can be judged; the message says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Configuration:
    """How to judge, as the base branch says."""

    options: tuple[str, ...]
    environment: tuple[str, ...]


@dataclass(frozen=True)
class Sides:
    """The commits that are compared, and the tip of the base branch, whose configuration counts."""

    base: str
    candidate: str
    tip: str


def find_branch(environment: Mapping[str, str]) -> str:
    """Return the branch that the change is to be merged into. Raises Refused."""
    if "GITHUB_ACTIONS" not in environment:
        branch = environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
        if branch is None:
            raise Refused("This pipeline is not one of a merge request. Run it for `merge_request_event` alone.")
        return branch
    event = environment["GITHUB_EVENT_NAME"]
    if event != "pull_request":
        raise Refused(
            f"The event is {event}; expected pull_request. Others, such as pull_request_target, "
            "give the judged code more rights than its author has."
        )
    return str(json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text("utf-8"))["pull_request"]["base"]["ref"])


def find_sides(branch: str) -> Sides:
    """Find what to compare: the checkout, and the last commit of the base branch that it contains. Raises Refused."""
    if _git("rev-parse", "--is-shallow-repository") != "false":
        raise Refused("The history is not here. Check out with `fetch-depth: 0`, or `GIT_DEPTH: 0` on GitLab.")
    if _git("config", "--get-regexp", r"^(http\..*extraheader|core\.sshcommand)$"):
        raise Refused(
            "The checkout holds a credential, which the judged code could read. Set `persist-credentials: false`."
        )
    candidate = _git("rev-parse", "HEAD")
    tip = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/remotes/origin/{branch}^{{commit}}")
    base = tip and _git("merge-base", tip, candidate)
    if not base:
        raise Refused("The base branch has no commit in common with the checkout, or is not here.")
    if base == candidate:
        raise Refused("The checkout is on the base branch, so there is nothing to compare.")
    return Sides(base, candidate, tip)


def read_configuration(sides: Sides, path: str) -> Configuration:
    """Read the configuration on the base branch. Raises Refused."""
    blob = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{sides.tip}:{path}")
    if not blob or _git("cat-file", "-t", blob) != "blob":
        raise Refused(f"The base branch has no {path}. Merge one first: a pull request cannot bring its own.")
    if int(_git("cat-file", "-s", blob)) > MOST_BYTES:
        raise Refused(f"{path} has more than {MOST_BYTES // 1024} KiB.")
    try:
        return parse_configuration(json.loads(_git("cat-file", "blob", blob)))
    except ValueError as error:
        raise Refused(f"{path} on the base branch: {error}") from None


def parse_configuration(content: Any) -> Configuration:
    """Check a configuration. Raises ValueError."""
    if not isinstance(content, dict) or not isinstance(content.get("run"), str):
        raise ValueError('expected an object with "run", the command that trains once with {seed} and {out}.')
    if unknown := sorted(set(content) - {"run", "environment", *OPTIONS}):
        raise ValueError(f"unknown: {', '.join(unknown)}. Known are run, environment, {', '.join(OPTIONS)}.")
    names = content.get("environment", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and re.fullmatch(r"\w+", name) for name in names):
        raise ValueError('expected a list of names of variables as "environment".')
    given = {name: content[name] for name in OPTIONS if name in content}
    if wrong := [name for name, value in given.items() if not isinstance(value, str | int | float)]:
        raise ValueError(f"expected a number or a text as {wrong[0]}.")
    options = (f"--{name.replace('_', '-')}={value}" for name, value in given.items())
    return Configuration((f"--run={content['run']}", *options), tuple(names))


def is_changed(sides: Sides, path: str) -> bool:
    """Whether the change touches the configuration."""
    compared = ["git", "--literal-pathspecs", "diff", "--quiet", "--no-ext-diff", "--no-textconv"]
    return subprocess.run([*compared, sides.base, sides.candidate, "--", path], check=False).returncode == 1


def judge(program: str, sides: Sides, configuration: Configuration, folder: Path) -> int:
    """Run the judge, and return its exit code.

    It runs in a new repository without any file. A pull request may bring files that look like the judge's own, such
    as a checkout of the base or an earlier study.
    """
    empty = folder / "repository"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", "--shared", ".", empty], check=True)
    names = (*INHERITED, *configuration.environment)
    command = [program, "judge", sides.base, sides.candidate, *configuration.options, "--embedded"]
    # GitHub must not carry out what the judged code prints.
    resume = secrets.token_hex(16)
    print(f"::stop-commands::{resume}", flush=True)
    done = subprocess.run(
        [*command, f"--markdown={folder / FILE}"],
        cwd=empty,
        env={name: os.environ[name] for name in names if name in os.environ},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    print(f"\n::{resume}::", flush=True)
    return done.returncode


def main(program: str) -> int:
    path = os.environ.get("HELDOUT_CONFIGURATION") or ".heldout-judge.json"
    kept = Path(os.environ["HELDOUT_ANSWER"])
    kept.mkdir(parents=True, exist_ok=True)
    failing = os.environ.get("HELDOUT_FAIL_ON", "worse").replace(",", " ").split()
    notes, code = [], 1
    with tempfile.TemporaryDirectory(prefix="heldout-judge-", ignore_cleanup_errors=True) as folder:
        try:
            if unknown := set(failing) - set(ANSWERS.values()):
                raise Refused(
                    f"fail-on: received {', '.join(sorted(unknown))}; expected {', '.join(ANSWERS.values())}."
                )
            sides = find_sides(find_branch(os.environ))
            configuration = read_configuration(sides, path)
            notes = [CHANGED] if is_changed(sides, path) else []
            ended = judge(program, sides, configuration, Path(folder))
            if ended not in ANSWERS:
                raise Refused(f"The judge ended with exit code {ended}. Its log says why.")
            answer = read_answer(Path(folder, FILE))
            check_answer(answer)
            code = int(ANSWERS[ended] in failing)
        except (Refused, NotShown) as refusal:
            print(f"heldout: {refusal}", file=sys.stderr)
            answer = f"# Heldout: No answer\n\n{escape(str(refusal))}\n".encode()
    (kept / FILE).write_bytes(answer)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("ab") as file:
            file.write(b"".join(f"{note}\n\n".encode() for note in notes) + answer)
    return code


def escape(text: str) -> str:
    """Write a text so that nothing in it is markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _git(*arguments: str) -> str:
    """Run git in the checkout, and return what it printed; nothing if it failed."""
    done = subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True, errors="replace", check=False)
    return "" if done.returncode else done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
