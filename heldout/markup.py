"""HTML and SVG as values that escape themselves: text is never markup, whatever a name holds."""

from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "br", "hr", "link", "img", "input"})

Attribute = str | int | float | None


class Markup(str):
    """Text that is markup already. Only `element` makes it, and constants of this package."""

    __slots__ = ()


Child = str | Markup | None


def element(name: str, /, *children: Child | Iterable[Child], **attributes: Attribute) -> Markup:
    """`<name attribute="…">children</name>`, well-formed as XML too.

    Args:
        children: text, which is escaped, or markup, or lists of them; None is nothing.
        attributes: `_` is written `-`, and left out at the end (`class_`). None is left out; floats have two decimals.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written} />")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child | Iterable[Child]) -> Markup:
    """Children one after the other."""
    return Markup("".join(_markup(child) for child in children))


def table(caption: str, rows: list[tuple[str, str]]) -> Markup:
    """A small table of names and values, for notebooks."""
    cells = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    return element("table", element("caption", caption), element("tbody", cells))


def visible(text: str) -> str:
    """The text with what cannot be seen (control characters, characters that turn the direction) as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _markup(child: Child | Iterable[Child]) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str):
        return escape(visible(child))
    return joined(*child)


def _value(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return visible(str(value))
