"""The terminal and reports write durations as the dashboard does."""

import re
from pathlib import Path

from heldout.words import format_duration

# The cases of the dashboard's own test.
CASES = re.findall(
    r"equal\(duration\(([\d.]+)\), '([^']+)'\)",
    (Path(__file__).resolve().parents[3] / "web/tests/format.test.js").read_text(encoding="utf-8"),
)


def test_durations_are_the_dashboards():
    assert len(CASES) >= 5
    assert [format_duration(float(seconds)) for seconds, _ in CASES] == [text for _, text in CASES]
    assert format_duration(540) == "9 min"
    assert format_duration(None) == "–"
