"""Parses numbers as programs write them in cells."""

import re

_DECIMAL_COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][-+]?\d+)?")
_GROUPS = re.compile(r"\.(?=\d{3})")


def parse_number(cell: object) -> float | None:
    """Parse a cell's number, which may be NaN or infinite; None if it is not a number.

    Decimal commas (`0,35`, `1.234,5`) and percent signs are understood. `null` in a record means NaN, because JSON
    cannot represent NaN.
    """
    if cell is None:
        return float("nan")
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        try:
            return float(cell)
        except OverflowError:
            return float("inf")
    if not isinstance(cell, str):
        return None
    text = cell.strip().removesuffix("%").strip()
    if _DECIMAL_COMMA.fullmatch(text):
        text = _GROUPS.sub("", text.partition(",")[0]) + "." + text.partition(",")[2]
    try:
        return float(text)
    except ValueError:
        return None
