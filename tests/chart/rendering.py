"""Renders the Helm chart for its tests, in an environment that has Helm as a library."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.environments import make_environment

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "heldout"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def read_examples() -> dict[str, dict[str, Any]]:
    """Return the values of the ten examples by name."""
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    return {file.name.removesuffix("-values.yaml"): yaml.safe_load(file.read_text("utf-8")) for file in files}


def render(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `faults` and `objects` for each of the named values."""
    python = make_environment("chart", REQUIREMENTS) / "python"
    command = [str(python), str(Path(__file__).with_name("render.py")), str(CHART)]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
