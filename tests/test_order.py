"""The order of a parallel run: waiting tests are spread among computing ones, and short files come last."""

from dataclasses import dataclass
from pathlib import Path

from tests.order import OTHERS, longest_first

ROOT = Path("/project")


@dataclass(frozen=True)
class OfFile:
    path: Path
    name: str


def in_files(*files: str) -> list[OfFile]:
    return [OfFile(ROOT / file, name) for file in files for name in ("second", "first")]


def test_waiting_files_start_early_next_to_trainings_and_files_stay_together():
    short = [f"tests/api/test_{number}.py" for number in range(OTHERS)]
    found = longest_first(
        in_files(*short, "tests/e2e/test_a.py", "tests/faults/test_b.py", "tests/worker/test_c.py"), ROOT
    )
    assert found == in_files(
        "tests/e2e/test_a.py", "tests/worker/test_c.py", *short[: OTHERS - 1], "tests/faults/test_b.py", short[-1]
    )


def test_a_run_of_few_files_keeps_all_tests():
    assert longest_first(in_files("tests/faults/test_b.py", "tests/e2e/test_a.py"), ROOT) == in_files(
        "tests/faults/test_b.py", "tests/e2e/test_a.py"
    )
    assert longest_first([], ROOT) == []
