"""Environments of tools that tests and checks use, apart from `.venv`, whose packages they may not fit."""

import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"


def make_environment(name: str, requirements: Path) -> Path:
    """Install what a file pins by hashes into `.cache/NAME`, unless it is there, and return its folder of programs."""
    home = CACHE / name
    stamp, wanted = home / ".made-for", requirements.read_text("utf-8")
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)]
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", *options], check=True)
        stamp.write_text(wanted, "utf-8")
    return home / "bin"
