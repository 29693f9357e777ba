"""The check of the repository's English finds what it should."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import prose

LONG = "The worker " + "reads an image and " * 8 + "stops."


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("page.md", "The next training starts anew.", '"anew"'),
        ("page.md", LONG, "A sentence has 35 words"),
        ("page.md", "A short one. " * 41, "A paragraph has 123 words"),
        ("page.md", "It says «ready».", "Quotation marks"),
        ("page.md", "It was said by everyone.", '"was said"'),
        ("page.md", "We refer back to it.", "Redundan"),
        ("module.py", '"""What nobody needs."""', '"nobody"'),
        ("module.py", "# Jobs of somebody else.\nx = 1", '"somebody"'),
        ("module.py", 'x = f"{1} is no image of this dataset"', '"is no image"'),
        ("module.py", 'def f(): """Of the last epoch."""', '"Of the …"'),
        ("page.tsx", "const x = <p>This image is told from the others</p>;", '"is told"'),
        ("page.tsx", "// The jobs that nobody has read yet\nconst x = 1;", '"nobody"'),
    ],
)
def test_a_planted_fault_is_reported_with_its_file_and_line(path: str, source: str, expected: str) -> None:
    findings = [str(finding) for finding in prose.check_passages(path, prose.read_passages(path, source))]
    assert any(finding.startswith(f"{path}:1: ") and expected in finding for finding in findings), findings


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("page.md", "Heldout trains the network again, from its initial weights. `nobody` is a user of the system."),
        ("page.md", "| accuracy | loss |\n|---|---|\n| 90.9% | 0.31 |"),
        ("module.py", 'def f(x):\n    """Return x.\n\n    Args:\n        x: (images,), float32.\n    """'),
        ("tests/test_it.py", 'def test_it():\n    assert said == "nobody waits for these jobs"'),
    ],
)
def test_plain_english_and_code_are_left_alone(path: str, source: str) -> None:
    assert not list(prose.check_passages(path, prose.read_passages(path, source)))


def test_the_command_prints_nothing_and_succeeds_for_files_without_findings() -> None:
    command = [sys.executable, "scripts/prose.py", "tests/test_prose.py"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
