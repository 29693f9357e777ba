"""A picture that can be shown in a notebook, printed, and saved to a file."""

from dataclasses import dataclass
from pathlib import Path

from heldout.markup import Markup, tag

SUFFIXES = (".svg", ".html", ".png")
# Twice the size in pixels, to look sharp on screens and on paper.
PNG_SCALE = 2.0


class NoPng(Exception):
    """PNG needs a package that is not installed; the message says which."""


@dataclass(frozen=True)
class Picture:
    """A picture as one SVG element, and the same as text."""

    title: str
    svg: str
    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Picture {self.title!r}: print(…) draws it, save(…) writes it>"

    def _repr_html_(self) -> str:
        return self.svg

    def save(self, to: Path | str) -> None:
        """Save in the format that the file name implies: `.svg`, `.html` or `.png`.

        Raises:
            ValueError: if the name has another ending.
            NoPng: for PNG, if the package that draws it is not installed.
            OSError: if the file cannot be written.
        """
        path = Path(to)
        match path.suffix.lower():
            case ".svg":
                path.write_text(self.svg, encoding="utf-8")
            case ".html":
                path.write_text(_build_page(self.title, self.svg), encoding="utf-8")
            case ".png":
                path.write_bytes(_render_png(self.svg))
            case other:
                raise ValueError(
                    f"Received {other or 'no'} ending in {path.name}; expected one of {', '.join(SUFFIXES)}."
                )


def _build_page(title: str, svg: str) -> str:
    head = tag("head", tag("meta", charset="utf-8"), tag("title", title))
    return f"<!doctype html>\n{tag('html', head, tag('body', Markup(svg)), lang='en')}\n"


def _render_png(svg: str) -> bytes:
    try:
        import vl_convert
    except ImportError:
        raise NoPng("PNG needs vl-convert-python: pip install vl-convert-python. SVG and HTML need nothing.") from None
    png: bytes = vl_convert.svg_to_png(svg, scale=PNG_SCALE)
    return png
