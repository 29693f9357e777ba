"""Rows of text in columns."""

from collections.abc import Sequence

BETWEEN = "  "


def align(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Pad the cells of each column to its widest cell. right: the indices of right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        BETWEEN.join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
