"""Check the English of the repository: `scripts/prose.py [PATH…]` prints findings as FILE:LINE: message.

It reads Markdown pages, and the docstrings, comments and texts of Python and TypeScript files. proselint finds the
general faults of English prose. This module adds phrases that a native speaker would not use, each with a suggestion,
sentences over 30 words, guillemets, and paragraphs over 120 words on Markdown pages. In tests and
migrations only docstrings and comments are read, because their texts quote the product or are SQL.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from proselint.checks import __register__ as general_checks
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, Padding, types
from proselint.registry.checks.engine import Fancy, RegexOptions
from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parents[1]

MAX_SENTENCE_WORDS = 30
MAX_PARAGRAPH_WORDS = 120

# Patterns that are ungrammatical, dated or word-for-word translations, and what to write.
DIALECT = {
    r"(?:nobody|somebody|anybody)": "no one, someone, anyone",
    r"(?:mend|mends|mended|mending)": "fix",
    r"anew": "again, or: from scratch",
    r"by heart": "memorized",
    r"another one": "another",
    r"(?:is|are|was|were|be|been|being) told": "is reported, or: the response says",
    r"(?:is|are|was|were|be|been) said": "is stated, or name who says it",
    r"wholly": "entirely",
    r"likewise": "also, or repeat what is meant",
    r"beside(?!:)": "next to, alongside, or: besides",
    r"for itself": "separately",
    r"in there": "there, or name the place",
    r"(?:give|gives|gave) way": "is closed, is replaced",
    r"whoever": "anyone who, or name who",
    r"(?:so many|so much)(?! (?:that|more|less|as|better|worse|faster|slower))": "that many, that much",
    r"where (?:none|no one|nothing)": "if there is none, if nothing",
    r"(?:go|goes|went) on(?! to\b)": "continue, or: happen",
    r"as far as": "where, or: if",
    r"nothing of": "none of",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|one|other|way|need|reason|such|match|less|different|point|use"
    r"|room|place|\w+er\b|worse)[a-z]+": "is not a …",
    r"(?:has|have|had) not(?=[.,;:)]|$)": "does not have",
}
# Docstrings and comments that start this way lack a subject.
SUBJECTLESS = {
    r"(?<=\n\n)(?:Of|By|From) (?:an?|one|the|all|each|every|those|what)(?=[^.\n]*\.?\n\n)": "name the thing first",
    r"(?<=\n\n)As (?:it|they) (?:is|are|was|were|came|comes)": "name the thing first",
}
OUR_CHECKS = (
    Check(types.PreferredForms(DIALECT), Fancy(), "dialect", '"{1}" is not idiomatic English; write: {0}.'),
    Check(
        types.PreferredForms(SUBJECTLESS, Padding.RAW),
        Fancy(RegexOptions(case_insensitive=False)),
        "dialect",
        '"{1} …": {0}.',
    ),
    Check(types.Existence(("[«»]",), Padding.RAW), Fancy(), "guillemets", 'Quotation marks are " ".'),
)
# The checks of proselint that suit technical prose: typography is ASCII here, and tables repeat words.
ENABLED = {"industrial_language.chatspeak": False} | dict.fromkeys(
    ["dialect", "guillemets", "archaism", "hedging", "industrial_language", "malapropisms", "mixed_metaphors"]
    + ["mondegreens", "needless_variants", "nonwords", "oxymorons", "redundancy", "skunked_terms"],
    True,
)
CheckRegistry().register_many((*general_checks, *OUR_CHECKS))


class Passage(NamedTuple):
    """A piece of prose of a file.

    text: without Markdown's marks; code between backticks is the one word `x`.
    """

    line: int
    text: str


class Finding(NamedTuple):
    """What is wrong with a passage, and what to write."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def read_markdown(source: str) -> Iterator[Passage]:
    """Yield the paragraphs, headings, list items and table cells of a page."""
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        if token.type == "inline" and token.map:
            yield Passage(token.map[0] + 1, "".join(_say_inline(child) for child in token.children or ()))


def _say_inline(token: object) -> str:
    kind, content = getattr(token, "type", ""), getattr(token, "content", "")
    return {"text": content, "code_inline": "X", "softbreak": " ", "hardbreak": " "}.get(kind, "")


def read_python(source: str, *, texts: bool = True) -> Iterator[Passage]:
    """Yield the docstrings and comments of a module and, unless `texts` is false, its longer texts."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)
    }  # type: ignore[attr-defined]
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            if id(node) in docstrings or (texts and len(node.value.split()) > 3):
                yield Passage(node.lineno, node.value)
        elif isinstance(node, ast.JoinedStr) and texts:
            text = "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)  # type: ignore[misc]
            if len(text.split()) > 3:
                yield Passage(node.lineno, text)
    yield from _read_comments(source)


def _read_comments(source: str) -> Iterator[Passage]:
    block: list[str] = []
    start = previous = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        # Comments at the ends of successive lines are separate; whole lines of comments are one.
        if token.start[0] != previous + 1 or token.line[: token.start[1]].strip():
            if block:
                yield Passage(start, " ".join(block))
            block, start = [], token.start[0]
        block.append(token.string.lstrip("#: "))
        previous = -1 if token.line[: token.start[1]].strip() else token.start[0]
    if block:
        yield Passage(start, " ".join(block))


def read_typescript(source: str) -> Iterator[Passage]:
    """Yield the comments of a module, and its quoted texts and JSX texts of four words or more."""
    pattern = (
        r"/\*\*?(?P<block>.*?)\*/|(?://[^\n]*\n\s*)+|\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`|>(?P<jsx>[^<>{}=;]+)<"
    )
    for match in re.finditer(pattern, source, re.DOTALL):
        text = re.sub(r"^\s*(?://+|\*)|^[\"`>]|[\"`<]$", " ", match[0].strip("/*"), flags=re.MULTILINE)
        text = re.sub(r"\$\{[^}]*\}|`[^`]*`", "x", text)
        if len(text.split()) > 3:
            yield Passage(source.count("\n", 0, match.start()) + 1, text)


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text; list items and the entries of a docstring's sections are separate sentences."""
    for paragraph in re.split(
        r"\n\s*\n|\n\s*(?=[-*] |\d+\. |[\w.*, ]+: |\S.*\S {2,}\S)", re.sub(r"`[^`]*`", "X", text)
    ):
        # Field names begin sentences in lower case; "e.g." and "i.e." end none.
        yield from re.split(
            r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])[\"”)]?\s+|(?<=:)\s+(?=[A-Z\"(])", " ".join(paragraph.split())
        )


def check_passages(path: str, passages: list[Passage]) -> Iterator[Finding]:
    """Yield what is wrong with the passages of one file."""
    # proselint reads one text; the beginnings of the passages in it lead back to lines.
    starts, text = [], "\n"
    for passage in passages:
        starts.append(len(text))
        text += "\n" + re.sub(r"`[^`]*`", "x", passage.text.strip()) + "\n"
        for sentence in split_sentences(passage.text):
            words = len(sentence.split())
            # Lists of names have no articles; sentences of this length do.
            if words > MAX_SENTENCE_WORDS and len(re.findall(r"\b(?:the|an|of|is|are)\b", sentence)) > 1:
                yield Finding(path, passage.line, f"A sentence has {words} words: split it. {sentence[:80]}…")
        if path.endswith(".md") and (words := len(passage.text.split())) > MAX_PARAGRAPH_WORDS:
            yield Finding(path, passage.line, f"A paragraph has {words} words: split it. {passage.text[:80]}…")
    for result in LintFile(path, content=text).lint({"max_errors": 10_000, "checks": ENABLED}):
        position = result.check_result.span[0]
        yield Finding(path, passages[bisect_right(starts, position) - 1].line, result.check_result.message)


def read_passages(path: str, source: str) -> list[Passage]:
    """Return the prose of a Markdown, Python or TypeScript file."""
    if path.endswith(".md"):
        return list(read_markdown(source))
    if path.endswith(".py"):
        return list(read_python(source, texts=not path.startswith(("tests/", "alembic/", "scripts/prose.py"))))
    return list(read_typescript(source))


def check_files(paths: list[str]) -> Iterator[Finding]:
    """Yield what is wrong with the English of these files, whose paths begin at the root of the repository."""
    for path in paths:
        if path.endswith((".md", ".py", ".ts", ".tsx")) and (
            passages := read_passages(path, (ROOT / path).read_text(encoding="utf-8"))
        ):
            yield from sorted(set(check_passages(path, passages)))


def main() -> int:
    """Print the findings of the tracked files below the paths given, or of all, and return the exit status."""
    listed = subprocess.run(["git", "ls-files", *sys.argv[1:]], cwd=ROOT, check=True, capture_output=True, text=True)
    findings = list(check_files(listed.stdout.splitlines()))
    print(*findings, sep="\n", end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
