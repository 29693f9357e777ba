"""Builds the manual in this folder, with an index for language models: `python scripts/manual.py`.

A page, an anchor or a picture that a link does not find ends it with 1. It needs Python and zensical alone.

Source of the index's form: llmstxt.org.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_index(project: dict[str, Any], docs: Path) -> str:
    """Return `llms.txt`: the pages by the sections of the manual's navigation, each with its first sentence."""
    sections = [
        "\n".join((f"## {name}\n", *(_describe(docs, page) for page in ([pages] if isinstance(pages, str) else pages))))
        for section in project["nav"]
        for name, pages in section.items()
    ]
    return f"# {project['site_name']}\n\n> {project['site_description']}\n\n" + "\n\n".join(sections) + "\n"


def _describe(docs: Path, page: str) -> str:
    text = (docs / page).read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    name = page if title is None else _strip(title[1])
    about = (line for line in _find_sentences(text) if len(line.split()) > 3 and not line.endswith(".md."))
    return f"- [{name}]({page.removesuffix('.md')}.html): {next(about, '')}"


def _find_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of paragraphs, not those of headings, tables, lists, code, pictures and comments."""
    for block in re.split(r"\n{2,}", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        if not re.match(r"\s*(#|\||[-*] |\d+\. |!|<|>|$)", block):
            yield from re.split(r"(?<=[.?!])\s", re.sub(r":$", ".", _strip(" ".join(block.split()))))


def _strip(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "")


def main() -> None:
    """Build the manual, and write its index."""
    project = tomllib.loads(Path("zensical.toml").read_text(encoding="utf-8"))["project"]
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], check=False)
    if done.returncode:
        sys.exit(1)
    (Path(project["site_dir"]) / "llms.txt").write_text(
        write_index(project, Path(project["docs_dir"])), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
