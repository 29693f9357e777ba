"""A repository with a change to judge, and a release of the action and the template that judge it."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.pipelines.forge import OWN, Comment, Forge
from tests.pipelines.running import PARTS, ROOT, GitHubRunner, GitLabRunner, Job, git

FORGE_FILES = ROOT / "deploy" / "ci"
# Its scripts import each other by their names alone.
sys.path.append(str(FORGE_FILES))
CONFIGURATION = ".heldout-judge.json"
RUN = "python train.py --seed {seed} --out {out}"
# Stands for `heldout`: it writes down what it is given, and then does what a test says.
PROGRAM = """#!{python}
import json, os, sys
from pathlib import Path

def read_ancestors():
    pid = os.getpid()
    while pid > 1:
        try:
            yield Path(f"/proc/{{pid}}/environ").read_text()
        except OSError:
            return
        pid = int(Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()[1])

spy, markdown = Path({spy!r}), Path(sys.argv[-1].partition("=")[2])
spy.write_text(json.dumps({{
    "arguments": sys.argv[1:-1], "environment": dict(os.environ),
    "folder": os.listdir(), "parents": [*read_ancestors()],
}}))
code = 0
{body}
sys.exit(code)
"""
SETUP = '#!/bin/sh\nset -eu\ncd "$(dirname "$0")/.."\nmkdir -p .venv/bin\ncp program .venv/bin/heldout\n'


class Project:
    """A repository with the judge's configuration on its base branch, and one change to judge."""

    def __init__(self, folder: Path, forge: Forge) -> None:
        self.folder, self.forge = folder, forge
        self.repository, self.release, self._spy = folder / "pets.git", folder / "release", folder / "spy.json"
        self.repository.mkdir()
        git(self.repository, "init", "--quiet")
        self.event: dict[str, Any] = json.loads(Path(__file__).with_name("event.json").read_text())
        self.github: dict[str, Any] = yaml.safe_load((FORGE_FILES / "github.yml").read_text())
        self.gitlab: dict[str, Any] = yaml.safe_load((FORGE_FILES / "gitlab.yml").read_text())
        for part in PARTS:
            source, target = ROOT / part, self.release / part
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, target)
        (self.release / "scripts").mkdir()
        (self.release / "scripts" / "setup").write_text(SETUP)
        (self.release / "scripts" / "setup").chmod(0o755)
        self.install("markdown.write_text('# Heldout: The candidate is better than the base.\\n')")
        self.commit({"train.py": "1\n", CONFIGURATION: json.dumps({"run": RUN, "seeds": 2})})
        self.base = git(self.repository, "rev-parse", "HEAD")

    @property
    def spied(self) -> dict[str, Any]:
        """What the judge was given."""
        return dict(json.loads(self._spy.read_text()))

    @property
    def was_judged(self) -> bool:
        return self._spy.exists()

    def install(self, body: str) -> None:
        """Make `heldout` do this."""
        program = self.release / "program"
        program.write_text(PROGRAM.format(python=sys.executable, spy=str(self._spy), body=body))
        program.chmod(0o755)

    def commit(self, files: Mapping[str, str]) -> str:
        """Commit files to the current branch, and return the commit."""
        for name, content in files.items():
            file = self.repository / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", "--message", "A change")
        return git(self.repository, "rev-parse", "HEAD")

    def change(self, files: Mapping[str, str], branch: str = "main") -> str:
        """Ask to merge these files into the branch, as GitHub does: with a commit that merges. Return that commit."""
        git(self.repository, "checkout", "--quiet", "-B", "wider", branch)
        head = self.commit(files)
        tree = git(self.repository, "rev-parse", f"{head}^{{tree}}")
        merge = git(self.repository, "commit-tree", tree, "-p", branch, "-p", head, "-m", "Merge")
        git(self.repository, "update-ref", "refs/pull/7/merge", merge)
        git(self.repository, "checkout", "--quiet", branch)
        self.event["pull_request"]["head"]["sha"] = head
        self.event["pull_request"]["base"]["ref"] = branch
        self.forge.files = sorted(files)
        return merge

    def run_github(self, **options: Any) -> dict[str, Job]:
        runner = GitHubRunner(self.folder / "github", self.forge, self.release, self.event, self.repository)
        return runner.run(self.github, **options)

    def run_gitlab(self, source_project: str = "31", **variables: str) -> dict[str, Job]:
        """Run the template for the merge request, with the release as a repository."""
        if not (self.release / ".git").exists():
            git(self.release, "init", "--quiet")
        git(self.release, "add", "--all")
        git(self.release, "commit", "--quiet", "--allow-empty", "--message", "Release")
        head = self.event["pull_request"]["head"]["sha"]

        def check_out(project: Path) -> None:
            git(project, "init", "--quiet")
            git(project, "fetch", "--quiet", f"file://{self.repository}", "+refs/heads/*:refs/remotes/origin/*")
            git(project, "checkout", "--quiet", "--detach", head)

        given = {
            "CI_API_V4_URL": self.forge.url,
            "CI_COMMIT_SHA": head,
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": source_project,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": self.event["pull_request"]["base"]["ref"],
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_PROJECT_ID": "31",
            "HELDOUT_COMMIT": git(self.release, "rev-parse", "HEAD"),
            "HELDOUT_REPOSITORY": f"file://{self.release}",
            **variables,
        }
        secrets = {"heldout-comment": {"HELDOUT_TOKEN": self.forge.issue_token({"api": "write"})}}
        return GitLabRunner(self.folder / "gitlab", given, secrets).run(self.gitlab, check_out)

    @property
    def own_comments(self) -> list[Comment]:
        return [comment for comment in self.forge.comments if comment.author == OWN]
