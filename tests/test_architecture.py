"""The pages about the architecture are true, and no source file is larger than one subject needs."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
FLOWS = ROOT / "docs" / "reference" / "flows.md"
ROOMS = ("heldout", "analysis", "models", "host", "api", "worker", "predict")
MAX_LINES = 350
# Tables, which a second file would only split.
TABLES = {"models/tables.py", "benchmarks/diagnosis/conditions.py"}


def _source_files() -> list[str]:
    """List our Python files outside of tests, as paths from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if not name.startswith("tests/") and (ROOT / name).is_file()]


def test_no_source_file_exceeds_the_line_limit() -> None:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in _source_files()}
    assert len(lengths) > 200, "the files were not found"
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES and name not in TABLES} == {}


def test_every_file_named_on_the_pages_exists() -> None:
    named = re.findall(r"`([\w./{},-]+/[\w./{},-]*)`", PAGE.read_text("utf-8") + FLOWS.read_text("utf-8"))
    assert len(named) > 40, "the pages name hardly any file"
    for name in named:
        assert (ROOT / name).exists(), f"architecture.md or flows.md names {name}"


def test_every_function_named_in_the_flows_is_in_its_file() -> None:
    pairs = re.findall(r"`([\w/]+\.py)` `(\w+)`", FLOWS.read_text(encoding="utf-8"))
    assert len(pairs) > 15, "the flows name hardly any function"
    for file, function in pairs:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(async )?(def|class) {function}\b", source, re.MULTILINE), f"{file} has no {function}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_of_a_room_is_on_the_page(room: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    folders = {str(Path(name).parent) for name in _source_files() if name.startswith(f"{room}/")}
    assert folders
    for folder in folders:
        assert f"{folder}/" in page, f"architecture.md does not name {folder}/"
