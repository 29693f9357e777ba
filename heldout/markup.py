"""HTML and SVG as values that escape themselves: text never becomes markup, whatever a name contains."""

from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "br", "hr", "link", "img", "input"})

Attribute = str | int | float | None


class Markup(str):
    """Text that already is markup. Only `tag` and constants of this package create it."""

    __slots__ = ()


Child = str | Markup | None


def tag(name: str, /, *children: Child | Iterable[Child], **attributes: Attribute) -> Markup:
    """Make `<name attribute="…">children</name>`, which is also well-formed XML.

    Args:
        children: text, which is escaped, or markup, or lists of both; None is ignored.
        attributes: `_` becomes `-`, and is dropped at the end (`class_`). None is ignored; floats get two decimals.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_format_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written} />")
    return Markup(f"<{name}{written}>{join_children(*children)}</{name}>")


def join_children(*children: Child | Iterable[Child]) -> Markup:
    """Join children in order."""
    return Markup("".join(_convert_to_markup(child) for child in children))


def make_visible(text: str) -> str:
    """Escape characters that cannot be seen, such as control characters and those that change the direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _convert_to_markup(child: Child | Iterable[Child]) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str):
        return escape(make_visible(child))
    return join_children(*child)


def _format_value(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return make_visible(str(value))
