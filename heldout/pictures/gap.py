"""The gap between training and test as a waterfall chart: each term takes its share of the accuracy."""

from heldout.markup import tag
from heldout.pictures.kit import BETTER, HELD_OUT, INK, WORSE, draw_svg, draw_text, draw_upright_grid
from heldout.pictures.picture import Picture
from heldout.pictures.scales import choose_scale, format_ticks
from heldout.views.diagnosis import DiagnosisView, GapBudgetView

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 210, 640, 46, 30
BAR = 18
COLUMNS = 40


def draw_gap(diagnosis: DiagnosisView, name: str) -> Picture:
    """Draw accuracy from training at the top to test at the bottom, in percent, with each term's 95% interval."""
    title = f"{name}: from training to test"
    gap = diagnosis.gap
    if gap is None:
        said = "The gap is known once the training has ended and training and test images were measured."
        return Picture(title, draw_svg(WIDTH, 70, title, draw_text(said, 12, 48)), f"{title}\n{said}")
    rows = _list_rows(gap)
    ends = [end for row in rows for end in (row[1], row[2])]
    height = TOP + ROW * len(rows) + 30
    x = choose_scale(ends, LEFT, RIGHT)
    bottom = height - 24
    parts = [draw_upright_grid(x, TOP - 8, bottom, [f"{written}%" for written in format_ticks(x.ticks)])]
    for number, (label, start, end, said) in enumerate(rows):
        y = TOP + ROW * number
        colour = HELD_OUT if start == end else WORSE if end < start else BETTER
        low, high = sorted((x.place(start), x.place(end)))
        if start == end:
            low, high = low - 2, low + 2
        parts.append(draw_text(label, LEFT - 12, y + 14, anchor="end", fill=INK))
        parts.append(tag("rect", x=low, y=y, width=max(high - low, 1.0), height=BAR, fill=colour))
        parts.append(draw_text(said, RIGHT + 10, y + 14))
    return Picture(title, draw_svg(WIDTH, height, title, *parts), _draw_text(title, rows))


def _list_rows(gap: GapBudgetView) -> list[tuple[str, float, float, str]]:
    """List for each row the label, the start and end of its bar in percent, and the text next to it."""
    level = 100 * gap.train.accuracy
    rows = [("training", level, level, f"{level:.1f}%")]
    for term in gap.terms:
        below = level - 100 * term.accuracy
        bounds = ""
        if term.accuracy_interval is not None:
            low, high = (0.0 - 100 * bound for bound in reversed(term.accuracy_interval))
            bounds = f" [{low:+.1f}, {high:+.1f}]"
        rows.append((term.code.replace("_", " "), level, below, f"{0.0 - 100 * term.accuracy:+.1f}{bounds}"))
        level = below
    test = 100 * gap.test.accuracy
    return [*rows, ("test", test, test, f"{test:.1f}%")]


def _draw_text(title: str, rows: list[tuple[str, float, float, str]]) -> str:
    """Draw the same as text."""
    x = choose_scale([end for row in rows for end in row[1:3]], 0.0, COLUMNS - 1.0)
    width = max(len(label) for label, *_ in rows)
    lines = [title]
    for label, start, end, said in rows:
        low, high = sorted((round(x.place(start)), round(x.place(end))))
        mark = "│" if start == end else "█"
        lines.append(f"{label:>{width}} {(' ' * low + mark * (high - low + 1)).ljust(COLUMNS)} {said}")
    lines.append("Accuracy in percent; the points that each cause costs, with 95% confidence intervals.")
    return "\n".join(lines)
