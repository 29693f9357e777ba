"""Code blocks of Markdown pages, and the commands in them."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (?P<why>[^>]+) -->\n\s*\Z")


@dataclass(frozen=True)
class Block:
    """A code block. `not_run` is the reason, from the comment before it, why no test runs it."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Return the commands of a `console` block, each with the output shown below it."""
        found: list[tuple[str, str]] = []
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            last = next(number for number, line in enumerate(lines) if not line.rstrip("\n").endswith("\\"))
            found.append(("".join(lines[: last + 1]).strip(), "".join(lines[last + 1 :])))
        return found

    @property
    def script(self) -> str:
        """Return what a shell gets: the commands of a `console` block, or the whole text of other blocks."""
        return "\n".join(command for command, _ in self.commands) if self.language == "console" else self.text


def blocks_of(page: Path) -> list[Block]:
    """List the code blocks of a page in order. Blocks without a language show output."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        marked = _NOT_RUN.search(text[: match.start()])
        found.append(
            Block(
                page=str(page.relative_to(ROOT)),
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                text=textwrap.dedent(match["text"]),
                not_run=marked["why"] if marked else None,
            )
        )
    return found


def pages_with_commands() -> list[Path]:
    """List the README, tutorial and how-to pages that have a code block."""
    pages = [
        ROOT / "README.md",
        *sorted((ROOT / "docs/tutorial").glob("*.md")),
        *sorted((ROOT / "docs/how-to").glob("*.md")),
    ]
    return [page for page in pages if blocks_of(page)]
