"""Runs a workflow of GitHub and a template of GitLab as written, step by step, each job in folders of its own."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.pipelines.forge import Forge

ROOT = Path(__file__).resolve().parents[2]
ACTION = "OWNER/heldout"
# The judge's own parts of a checkout.
PARTS = ("action.yml", "deploy/ci")
_WORD = re.compile(r"\s*(?:(==|!=|&&|\|\||!|\(|\))|'((?:[^']|'')*)'|([A-Za-z_][\w.-]*(?:\(\))?))")
_PYTHON = {"&&": " and ", "||": " or ", "!": " not "}
_COMMAND = re.compile(r"^::([\w-]+)(?: [^:]*)?::(.*)$")


@dataclass
class Job:
    """How a job ended, what it wrote into its summary and its log, and the commands to GitHub that it printed."""

    succeeded: bool = True
    skipped: bool = False
    summary: str = ""
    log: str = ""
    commands: list[str] = field(default_factory=list)


def evaluate(text: str, context: Mapping[str, Any]) -> Any:
    """Evaluate an expression of GitHub. Fails on anything that our files do not use."""
    words, place = [], 0
    while text[place:].strip():
        found = _WORD.match(text, place)
        assert found, f"cannot evaluate {text[place:]!r}"
        place = found.end()
        sign, string, name = found.groups()
        words.append(_PYTHON.get(sign, sign) if sign else repr(_look_up(name, context) if name else string))
    return eval(" ".join(words))


def _look_up(name: str, context: Mapping[str, Any]) -> Any:
    value: Any = context
    for part in name.split("."):
        value = value[part]
    return "" if value is None else value


def fill(text: Any, context: Mapping[str, Any]) -> str:
    """Replace the expressions in a text."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1], context)), str(text))


class GitHubRunner:
    """Runs a workflow for an event.

    Args:
        release: a folder with the action, as GitHub checks it out.
        event: as recorded. repository: where the checkout comes from. commit: what it checks out.
    """

    def __init__(self, folder: Path, forge: Forge, release: Path, event: Mapping[str, Any], repository: Path) -> None:
        self._folder, self._forge, self._release = folder, forge, release
        self._event, self._repository = event, repository
        head = event["pull_request"]["head"]["repo"]
        self._is_fork = head is None or head["full_name"] != event["repository"]["full_name"]

    def run(
        self,
        workflow: Mapping[str, Any],
        event_name: str = "pull_request",
        between: Callable[[], object] = lambda: None,
    ) -> dict[str, Job]:
        """Run all jobs in order. between: is called before each job but the first."""
        jobs: dict[str, Job] = {}
        for name, asked in workflow["jobs"].items():
            if jobs:
                between()
            rights = asked.get("permissions", workflow["permissions"])
            if self._is_fork:
                rights = dict.fromkeys(rights, "read")
            jobs[name] = self._run_job(name, asked, rights, event_name, jobs)
        return jobs

    def _run_job(
        self, name: str, asked: Mapping[str, Any], rights: Mapping[str, str], event_name: str, done: Mapping[str, Job]
    ) -> Job:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        for part in ("workspace", "temp/_runner_file_commands", "home"):
            (place / part).mkdir(parents=True)
        event = place / "temp" / "event.json"
        event.write_text(json.dumps(self._event))
        needed = asked.get("needs", [])
        failed = not all(done[need].succeeded for need in ([needed] if isinstance(needed, str) else needed))
        token = self._forge.issue_token(rights)
        context = {
            "github": {"event": self._event, "token": token, "repository": self._event["repository"]["full_name"]},
            "runner": {"temp": str(place / "temp")},
            "cancelled()": False,
        }
        job = Job()
        if not self._is_due(asked.get("if"), context, failed):
            job.skipped = True
            return job
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place / "home"),
            "LANG": "C.UTF-8",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self._forge.url,
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_RUN_ID": "99",
            "GITHUB_WORKSPACE": str(place / "workspace"),
            "RUNNER_TEMP": str(place / "temp"),
        }
        self._run_steps(asked["steps"], place, environment, context, job)
        return job

    def _run_steps(
        self, steps: list[Any], place: Path, environment: dict[str, str], context: Mapping[str, Any], job: Job
    ) -> None:
        for step in steps:
            if not self._is_due(step.get("if"), context, not job.succeeded):
                continue
            given = {name: fill(text, context) for name, text in step.get("with", {}).items()}
            if "run" in step:
                own = {name: fill(text, context) for name, text in step.get("env", {}).items()}
                self._run_shell(step, place, environment, own, job)
                continue
            action, _, commit = step["uses"].partition("@")
            assert re.fullmatch("[0-9a-f]{40}", commit), f"{step['uses']}: expected a commit"
            if action == "actions/checkout":
                self._check_out(place / "workspace", given, context["github"]["token"])
            elif action == "actions/upload-artifact":
                file = Path(given["path"])
                if file.exists():
                    self._forge.keep_artifact(file.name, file.read_bytes())
                else:
                    assert given["if-no-files-found"] == "ignore"
            else:
                assert action.startswith(ACTION), f"{action}: unknown"
                where = self._release / action.removeprefix(ACTION).strip("/")
                about = yaml.safe_load((where / "action.yml").read_text())
                inputs = {name: given.get(name, fill(of["default"], context)) for name, of in about["inputs"].items()}
                assert set(given) <= set(about["inputs"])
                inner = {**environment, "GITHUB_ACTION_PATH": str(where)}
                self._run_steps(about["runs"]["steps"], place, inner, {**context, "inputs": inputs}, job)
                environment |= {name: text for name, text in inner.items() if name != "GITHUB_ACTION_PATH"}

    def _run_shell(
        self, step: Mapping[str, Any], place: Path, environment: dict[str, str], own: Mapping[str, str], job: Job
    ) -> None:
        assert step["shell"] == "bash"
        files = place / "temp" / "_runner_file_commands"
        channels = {name: files / f"{name.lower()}_{len(list(files.iterdir()))}" for name in ("ENV", "PATH", "OUTPUT")}
        channels["STEP_SUMMARY"] = files / f"summary_{len(list(files.iterdir()))}"
        for file in channels.values():
            file.touch()
        script = place / "temp" / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=place / "workspace",
            env={**environment, **{f"GITHUB_{name}": str(file) for name, file in channels.items()}, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=240,
            check=False,
        )
        job.succeeded &= done.returncode == 0
        job.log += done.stdout
        job.commands += list_commands(done.stdout)
        job.summary += channels["STEP_SUMMARY"].read_text()
        for line in channels["ENV"].read_text().splitlines():
            name, _, text = line.partition("=")
            environment[name] = text
        for line in channels["PATH"].read_text().splitlines():
            environment["PATH"] = f"{line}:{environment['PATH']}"

    def _check_out(self, workspace: Path, given: Mapping[str, str], token: str) -> None:
        merge = f"refs/pull/{self._event['number']}/merge"
        depth = [] if given.get("fetch-depth") == "0" else ["--depth=1"]
        heads = ["+refs/heads/*:refs/remotes/origin/*"] if not depth else []
        git(workspace, "init", "--quiet")
        source = f"file://{self._repository}"
        git(workspace, "fetch", "--quiet", *depth, source, *heads, f"+{merge}:refs/remotes/pull/merge")
        git(workspace, "checkout", "--quiet", "--detach", "refs/remotes/pull/merge")
        if given.get("persist-credentials") != "False":
            git(workspace, "config", "http.https://github.com/.extraheader", f"AUTHORIZATION: basic {token}")

    @staticmethod
    def _is_due(condition: str | None, context: Mapping[str, Any], failed: bool) -> bool:
        if condition is None:
            return not failed
        text = condition.strip().removeprefix("${{").removesuffix("}}")
        return bool(evaluate(text, context)) and (not failed or "()" in text)


def list_commands(log: str) -> list[str]:
    """List the commands to GitHub in a log, which the runner would carry out."""
    found, resume = [], None
    for line in log.splitlines():
        command = _COMMAND.match(line)
        if command is None or (resume and command[1] != resume):
            continue
        if command[1] == "stop-commands":
            resume = command[2]
        elif resume:
            resume = None
        else:
            found.append(line)
    return found


class GitLabRunner:
    """Runs the jobs of a template for a merge request. secrets: variables by the environment that they belong to."""

    def __init__(self, folder: Path, variables: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._folder, self._variables, self._secrets = folder, variables, secrets

    def run(self, template: Mapping[str, Any], checkout: Callable[[Path], None]) -> dict[str, Job]:
        jobs: dict[str, Job] = {}
        general = {name: of["value"] for name, of in template["variables"].items()}
        kept: dict[str, bytes] = {}
        for name, own in template.items():
            if name == "variables" or name.startswith("."):
                continue
            base = template[own["extends"]]
            asked = {**base, **own, "variables": {**general, **base["variables"], **own["variables"]}}
            jobs[name] = self._run_job(name, asked, jobs, checkout, kept)
        return jobs

    def _run_job(
        self,
        name: str,
        asked: Mapping[str, Any],
        done: Mapping[str, Job],
        checkout: Callable[[Path], None],
        kept: dict[str, bytes],
    ) -> Job:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        project = place / "project"
        project.mkdir(parents=True)
        variables = {
            **asked["variables"],
            **self._variables,
            **self._secrets.get(asked.get("environment", {}).get("name", ""), {}),
            "CI_PROJECT_DIR": str(project),
            "CI_BUILDS_DIR": str(place),
            "CI_JOB_ID": name,
            "CI_JOB_TOKEN": "of-job",
        }
        job = Job()
        rule = next((rule for rule in asked["rules"] if self._holds(rule["if"], variables)), None)
        failed = not all(done[need].succeeded for need in asked.get("needs", []))
        if rule is None or (failed and rule.get("when") != "always"):
            job.skipped = True
            return job
        if variables.get("GIT_STRATEGY") != "empty":
            assert variables["GIT_DEPTH"] == "0"
            checkout(project)
        for path, content in kept.items() if "needs" in asked else ():
            (project / path).parent.mkdir(exist_ok=True)
            (project / path).write_bytes(content)
        expanded = {name: self._expand(text, variables) for name, text in variables.items()}
        ran = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", "\n".join([*asked["before_script"], *asked["script"]])],
            cwd=project,
            env={"PATH": os.environ["PATH"], "HOME": str(place), **expanded},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=240,
            check=False,
        )
        job.succeeded, job.log = ran.returncode == 0, ran.stdout
        for path in asked.get("artifacts", {}).get("paths", []):
            if (project / path).exists():
                kept[path] = (project / path).read_bytes()
        return job

    @staticmethod
    def _expand(text: str, variables: Mapping[str, str]) -> str:
        return re.sub(r"\$(\w+)", lambda found: variables.get(found[1], ""), text)

    @staticmethod
    def _holds(condition: str, variables: Mapping[str, str]) -> bool:
        text = re.sub(r"\$(\w+)", lambda found: repr(variables.get(found[1])), condition)
        return bool(eval(text.replace("&&", "and")))


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return what it printed."""
    about = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    command = ["git", *about, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
