"""Renders the Helm chart for its tests, in an environment that has Helm as a library."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "heldout"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
HOME = ROOT / ".cache" / "chart"


def read_examples() -> dict[str, dict[str, Any]]:
    """Return the values of the ten examples by name."""
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    return {file.name.removesuffix("-values.yaml"): yaml.safe_load(file.read_text("utf-8")) for file in files}


def render(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `faults` and `objects` for each of the named values."""
    command = [_prepare(), str(Path(__file__).with_name("render.py")), str(CHART)]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _prepare() -> str:
    """Install Helm and the schemas, unless they are, and return the environment's Python."""
    python, stamp = HOME / "bin" / "python", HOME / ".made-for"
    wanted = REQUIREMENTS.read_text("utf-8")
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
        subprocess.run([python, "-m", "pip", "install", *options], check=True)
        stamp.write_text(wanted, "utf-8")
    return str(python)
