"""Checks our workflows, actions and the template for GitLab: `make check-pipelines`.

check-jsonschema has the schemas of both forges, and zizmor knows how workflows are attacked.
"""

import subprocess
import sys
from pathlib import Path

from tests.environments import make_environment
from tests.pipelines.running import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SCHEMAS = {
    "github-actions": ["action.yml", "deploy/ci/comment/action.yml"],
    "github-workflows": ["deploy/ci/github.yml", *map(str, (ROOT / ".github" / "workflows").glob("*.yml"))],
    "gitlab-ci": ["deploy/ci/gitlab.yml"],
}


def main() -> int:
    """Return how many checks failed; what is wrong is printed."""
    tools = make_environment("pipelines", REQUIREMENTS)
    commands: list[list[str | Path]] = [
        [tools / "check-jsonschema", "--quiet", "--builtin-schema", f"vendor.{name}", *files]
        for name, files in SCHEMAS.items()
    ]
    audited = [*SCHEMAS["github-actions"], *SCHEMAS["github-workflows"]]
    commands.append([tools / "zizmor", "--offline", "--no-progress", "--quiet", *audited])
    return sum(subprocess.run(command, cwd=ROOT, check=False).returncode != 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main())
