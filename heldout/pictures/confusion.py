"""A confusion matrix as a picture: which labels got which answers."""

from math import sqrt

from heldout.markup import Markup, tag
from heldout.pictures.kit import HELD_OUT, INK, WORSE, draw_svg, draw_text
from heldout.pictures.picture import Picture
from heldout.stored.evaluation import SplitName
from heldout.views.results import ConfusionView

LEFT, LARGEST_CELL, SMALLEST_CELL, PICTURE = 150, 40, 6, 520
# Room above the matrix: for the title, and for each character of the longest name, which is written at an angle.
TITLE, CHARACTER = 48, 4
# Smaller cells contain no number.
NUMBERED_CELL = 20
MAX_NAME = 20
# More columns do not fit a terminal, so the most frequent mistakes are listed instead.
MAX_TEXT_CLASSES = 16
LISTED = 20

LEGEND = "Rows are labels, columns are answers"


class NotMeasured(Exception):
    """The job was not measured on this split; the message lists the measured splits."""


def draw_confusion(confusion: ConfusionView, name: str, split: SplitName | None = None) -> Picture:
    """Draw the matrix of one split; by default test or, if not measured, validation or train.

    Raises:
        NotMeasured: if the job was not measured on this split, or has too many classes.
    """
    measured = [split_name for split_name in ("test", "validation", "train") if split_name in confusion.splits]
    chosen = split or measured[0]
    if chosen not in confusion.splits:
        raise NotMeasured(f"The job was not measured on its {chosen} images, only on {' and '.join(measured)}.")
    counts, classes = confusion.splits[chosen].confusion, confusion.classes
    if not counts:
        raise NotMeasured(f"There is no matrix for {len(classes):,} classes; `heldout confusion` lists them.")
    right = sum(row[place] for place, row in enumerate(counts))
    title = f"{name}: {right:,} of {sum(map(sum, counts)):,} {chosen} images answered correctly"
    drawn = _draw_text(counts, classes) if len(classes) <= MAX_TEXT_CLASSES else _list_mistakes(counts, classes)
    return Picture(title, _draw_svg(title, counts, classes), "\n".join([title, *drawn]))


def _draw_svg(title: str, counts: list[list[int]], classes: list[str]) -> str:
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, PICTURE // len(classes)))
    side = cell * len(classes)
    named = cell >= 11
    top = TITLE + (CHARACTER * max(len(_shorten(label)) for label in classes) if named else 0)
    legend = draw_text(f"{LEGEND}; darker cells are a larger share of their row.", LEFT, top + side + 20)
    parts: list[Markup] = [legend]
    for row, (label, of_label) in enumerate(zip(classes, counts, strict=True)):
        y, total = top + row * cell, sum(of_label) or 1
        if named:
            parts.append(draw_text(_shorten(label), LEFT - 8, y + cell / 2 + 4, anchor="end", fill=INK))
            place = LEFT + row * cell + cell / 2
            turned = f"rotate(-35 {place:.1f} {top - 8})"
            parts.append(tag("text", _shorten(label), x=place, y=top - 8, fill=INK, transform=turned))
        for column, count in enumerate(of_label):
            if not count:
                continue
            x, share = LEFT + column * cell, count / total
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{label} answered as {classes[column]}: {count:,} of {total:,}"),
                    x=x,
                    y=y,
                    width=cell - 1,
                    height=cell - 1,
                    fill=HELD_OUT if row == column else WORSE,
                    fill_opacity=round(sqrt(share), 2),
                )
            )
            if cell >= NUMBERED_CELL:
                ink = "#ffffff" if share > 0.35 else INK
                parts.append(draw_text(f"{count}", x + cell / 2, y + cell / 2 + 4, anchor="middle", fill=ink))
    frame = tag("rect", x=LEFT, y=top, width=side, height=side, fill="none", stroke="#e1e5ea")
    return draw_svg(LEFT + max(side + 90, 380), top + side + 34, title, frame, *parts)


def _draw_text(counts: list[list[int]], classes: list[str]) -> list[str]:
    """Draw the matrix as text; columns have numbers if names are too long."""
    width = max(3, *(len(f"{count}") for row in counts for count in row))
    is_short = max(map(len, classes)) <= width
    heads = classes if is_short else [f"{place}" for place in range(1, len(classes) + 1)]
    labels = classes if is_short else [f"{_shorten(label)} {head}" for label, head in zip(classes, heads, strict=True)]
    room = max(map(len, labels))
    lines = [f"{LEGEND}{'' if is_short else ', in the same order'}; a dot means none.", ""]
    lines.append(" ".join([" " * room, *(head.rjust(width) for head in heads)]))
    for label, row in zip(labels, counts, strict=True):
        lines.append(" ".join([label.rjust(room), *((f"{count}" if count else "·").rjust(width) for count in row)]))
    return lines


def _list_mistakes(counts: list[list[int]], classes: list[str]) -> list[str]:
    mistakes = [
        (count, f"{label} answered as {classes[column]}")
        for row, (label, of_label) in enumerate(zip(classes, counts, strict=True))
        for column, count in enumerate(of_label)
        if count and row != column
    ]
    most = sorted(mistakes, key=lambda mistake: -mistake[0])[:LISTED]
    return ["The most frequent mistakes:", *(f"{count:>6,}  {said}" for count, said in most)]


def _shorten(label: str) -> str:
    return label if len(label) <= MAX_NAME else f"{label[: MAX_NAME - 1]}…"
