"""The audit of files here as one page of HTML with pictures. It loads nothing and can be sent to others as it is."""

import base64
from collections.abc import Callable, Iterable
from pathlib import Path

from analysis.arrays.dataset import ImageSet
from analysis.arrays.pictures import encode_png
from heldout.documents.diagnosis import SEVERITIES
from heldout.documents.html import STYLE, render_head, render_text
from heldout.fixes.bodies import format_fix_command
from heldout.markup import Markup, tag
from heldout.views.audit import AuditFindingView, AuditView
from heldout.views.dataset import ExampleView

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
PICTURES = Markup(
    """
.images { display: flex; flex-wrap: wrap; gap: .6rem; margin: .6rem 0; }
.images figure { width: 9rem; padding: .4rem; }
.images img, .sheet { max-width: 100%; image-rendering: pixelated; }
.images .pair { display: flex; gap: .4rem; border-left: .25rem solid var(--line); padding-left: .4rem; }
.images figcaption { font-weight: 400; font-size: .8rem; }
"""
)
MAX_PAIRS, MAX_EXAMPLES, MAX_SHEETS = 6, 24, 20


def render_audit(audit: AuditView, name: str, images: ImageSet, previews: Path) -> str:
    """Return the page.

    Args:
        name: what the user calls the images.
        previews: a folder with a contact sheet `<class>.png` for each class.
    """

    def draw(example: ExampleView, text: str = "") -> Markup:
        picture = encode_png(images.images[example.index], images.value_range)
        has_split = example.member.startswith(f"{example.split}/")
        shown = example.member if has_split else f"{example.split}: {example.member}"
        caption = tag("figcaption", shown, tag("br") if text else None, text or None)
        return tag("figure", _embed(picture, example.member), caption)

    height, width, channels = images.shape
    about = f"{name}: {len(images.labels):,} images of {height}×{width}×{channels}, {len(images.classes):,} classes"
    head = render_head(f"Audit of {name}", POLICY, Markup(STYLE + PICTURES))
    body = tag(
        "main",
        tag("p", "Heldout: audit of images, made on this machine", class_="kind"),
        tag("h1", audit.headline),
        tag("p", render_text(audit.summary), class_="lead"),
        tag("p", about, class_="about"),
        tag("h2", "Findings"),
        [_render_finding(finding, name, draw) for finding in audit.findings] or tag("p", "The audit found nothing."),
        tag("p", render_text(audit.question.text), class_="hint") if audit.question is not None else None,
        tag("h2", "Splits"),
        _render_splits(images),
        tag("ul", [tag("li", note) for note in _list_notes(audit)]),
        tag("h2", "Classes"),
        _render_sheets(images.classes, previews),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _render_finding(finding: AuditFindingView, name: str, draw: Callable[..., Markup]) -> Markup:
    reasons = finding.numbers.get("reasons", ())
    pictures: Iterable[Markup] = [
        tag("div", draw(first), draw(second), class_="pair") for first, second in finding.pairs[:MAX_PAIRS]
    ] or [
        draw(example, reasons[place] if place < len(reasons) else "")
        for place, example in enumerate(finding.examples[:MAX_EXAMPLES])
    ]
    fix = None
    if finding.fix is not None:
        fix = tag("p", "After an upload: ", tag("code", format_fix_command(name, finding.fix, finding.code)))
    return tag(
        "section",
        tag("h3", f"{finding.code.replace('_', ' ').capitalize()} ({SEVERITIES[finding.severity]})"),
        tag("p", render_text(finding.explanation)),
        tag("p", render_text(finding.what_to_do)),
        fix,
        tag("div", pictures, class_="images"),
    )


def _render_splits(images: ImageSet) -> Markup:
    """A table of the classes with their images in each split."""
    counts = [images.per_class(split) for split in images.splits]
    rows = [(name, *of_class) for name, *of_class in zip(images.classes, *counts, strict=True)]
    rows.append(("all", *(sum(of_split) for of_split in counts)))
    cells = [
        tag("tr", tag("th", str(name), scope="row"), [tag("td", f"{count:,}", class_="number") for count in of_class])
        for name, *of_class in rows
    ]
    heads = [tag("th", split, scope="col", class_="number") for split in images.splits]
    return tag("table", tag("thead", tag("tr", tag("th", "class", scope="col"), heads)), tag("tbody", cells))


def _list_notes(audit: AuditView) -> list[str]:
    source = audit.source
    origins = [f"{split}: {origin}" for split, origin in source.get("splits", {}).items()]
    left_out = [f"left out: {part['what']}: {part['count']:,}" for part in source.get("left_out", ()) if part["count"]]
    return [*origins, *left_out, *source.get("notes", ())]


def _render_sheets(classes: tuple[str, ...], previews: Path) -> list[Markup]:
    sheets = [
        tag("figure", tag("figcaption", name), _embed((previews / f"{label}.png").read_bytes(), name, "sheet"))
        for label, name in enumerate(classes[:MAX_SHEETS])
    ]
    hidden = len(classes) - MAX_SHEETS
    return [tag("div", sheets, class_="panels"), *([tag("p", f"and {hidden:,} more classes")] if hidden > 0 else [])]


def _embed(png: bytes, text: str, class_: str | None = None) -> Markup:
    return tag("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=text, class_=class_)
