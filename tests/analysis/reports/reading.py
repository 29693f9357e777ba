"""Reads rendered reports as a browser and a Markdown reader do."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from markdown import Markdown  # type: ignore[import-untyped]  # it has no types
from markdown_it import MarkdownIt

from analysis.reports.changes import build_report
from analysis.reports.contents import build_document
from heldout.documents.html import render_page
from heldout.documents.markdown import render_markdown
from tests.analysis.reports.made_studies import epochs_of


def report(study, gaps=()):
    return build_report(study, epochs_of(study), gaps)


def html(study, gaps=()):
    """Parse the page as a tree. It fails unless the page is well-formed."""
    return ElementTree.fromstring(render_page(build_document(report(study, gaps))))


def markdown(study, gaps=()):
    """Return the tokens of a Markdown reader."""
    text = render_markdown(build_document(report(study, gaps)))
    return MarkdownIt("commonmark").enable("table").parse(text)


def find_outside_html(text: str) -> set[str]:
    """Return the tags and attributes that names in a Markdown text could add, for two readers that pass on HTML."""
    pages = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(text),
        Markdown(extensions=["tables", "fenced_code"]).convert(text),
        Markdown().convert(text),  # without tables and fenced code
    )
    reader = _Tags()
    for page in pages:
        reader.feed(page)
    return reader.found - _OF_TABLES - _OF_TEXT


# Both readers mark columns of numbers and the languages of listings.
_OF_TABLES = {"table", "thead", "tbody", "tr", "th", "td", "style"}
_OF_TEXT = {"h1", "h2", "h3", "h4", "p", "strong", "em", "code", "class", "pre", "ul", "ol", "li", "blockquote", "br"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def text_of(element):
    """Return the text, without pictures and listings."""
    if element.tag.rpartition("}")[2] in {"svg", "style", "pre"}:
        return ""
    inner = [text_of(child) + (child.tail or "") for child in element]
    text = (element.text or "") + "".join(inner)
    return text if element.tag == "code" else re.sub(r"\s+", " ", f" {text} ")


def html_tables(page):
    """Return the caption and the cells of each row for each table, without the columns of pictures."""
    return [
        (
            text_of(table.find("caption")).strip(),
            [
                [text_of(cell).strip() for cell in row if cell.get("class") != "picture"]
                for row in [table.find("thead/tr"), *table.findall("tbody/tr")]
            ],
        )
        for table in page.iter("table")
    ]


def markdown_tables(tokens):
    """Return the cells of each row for each table."""
    tables: list[list[list[str]]] = []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in {"th_open", "td_open"}:
            inline = tokens[place + 1]
            tables[-1][-1].append("".join(part.content for part in inline.children))
    return tables
