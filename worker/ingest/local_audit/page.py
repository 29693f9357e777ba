"""The audit of files here as one page of HTML with pictures. It loads nothing and can be sent to others as it is."""

from pathlib import Path

from analysis.arrays.dataset import ImageSet
from analysis.arrays.pictures import embed_png, encode_png
from heldout.documents.audit import build_audit
from heldout.documents.blocks import Block, Document, Heading, Image, ImageGroup, Images, Paragraph, Table, strip_code
from heldout.documents.html import render_page
from heldout.views.audit import AuditFindingView, AuditView
from heldout.views.dataset import ExampleView

MAX_PAIRS, MAX_EXAMPLES, MAX_SHEETS = 6, 24, 20


def render_audit(audit: AuditView, name: str, images: ImageSet, previews: Path) -> str:
    """Return the page.

    Args:
        name: what the user calls the images.
        previews: a folder with a contact sheet `<class>.png` for each class.
    """

    def embed(example: ExampleView) -> ExampleView:
        picture = encode_png(images.images[example.index], images.value_range)
        return example.model_copy(update={"thumbnail": embed_png(picture)})

    def embed_all(finding: AuditFindingView) -> AuditFindingView:
        pairs = [(embed(first), embed(second)) for first, second in finding.pairs[:MAX_PAIRS]]
        examples = [embed(example) for example in finding.examples[:MAX_EXAMPLES]]
        return finding.model_copy(update={"pairs": pairs, "examples": examples})

    height, width, channels = images.shape
    about = f"{name}: {len(images.labels):,} images of {height}×{width}×{channels}, {len(images.classes):,} classes"
    shown = audit.model_copy(update={"findings": [embed_all(finding) for finding in audit.findings]})
    blocks: list[Block] = [Paragraph(f"{strip_code(about)}. Audited on this machine.", "hint"), *build_audit(shown)]
    blocks += [Heading("Splits"), _tabulate_splits(images), Heading("Classes")]
    return render_page(Document(f"Audit of {strip_code(name)}", [*blocks, *_list_sheets(images.classes, previews)]))


def _tabulate_splits(images: ImageSet) -> Table:
    """Build a table of the classes with their images in each split."""
    counts = [images.per_class(split) for split in images.splits]
    rows = [(strip_code(name), *of_class) for name, *of_class in zip(images.classes, *counts, strict=True)]
    rows.append(("all", *(sum(of_split) for of_split in counts)))
    cells = [(name, *(f"{count:,}" for count in of_class)) for name, *of_class in rows]
    return Table("Images of each class", ("class", *images.splits), cells, numbers=tuple(range(1, 1 + len(counts))))


def _list_sheets(classes: tuple[str, ...], previews: Path) -> list[Block]:
    sheets = [
        ImageGroup([Image(embed_png((previews / f"{label}.png").read_bytes()), name)])
        for label, name in enumerate(classes[:MAX_SHEETS])
    ]
    hidden = len(classes) - MAX_SHEETS
    return [Images(sheets), *([Paragraph(f"and {hidden:,} more classes")] if hidden > 0 else [])]
