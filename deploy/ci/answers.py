"""The judge's answer as a file that the judged code may have written: read within bounds, and shown only if inert."""

import os
import re
import stat
from pathlib import Path

FILE = "answer.md"
MOST_BYTES = 16 * 1024
MISSING = "The judge wrote no answer. The log of its job says why."
ANSWERS = {0: "better", 10: "as_good", 11: "worse", 12: "cannot_tell", 13: "spent"}

_ESCAPED = re.compile(r"\\[!-/:-@\[-`{-~]|&(?:amp|lt|gt);|^#{1,6} ", re.MULTILINE)
# What Heldout's Markdown has only escaped: links, HTML, mentions and references. A line that begins with a slash would
# be a command to GitLab, and to many bots.
_MARKUP = re.compile(r"[\[\]<>@!&~$#\\]|://|\bwww\.|^\s*/", re.MULTILINE | re.IGNORECASE)
_CONTROL = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# GitHub and GitLab make mentions and references of these even if they are escaped, unless something invisible follows.
_REFERENCE = re.compile(r"\\([@#!~$])")


class NotShown(Exception):
    """The answer is missing or not as Heldout writes it; the message says why, for the comment."""


def read_answer(file: Path) -> bytes:
    """Read the file, which may be anything. Raises NotShown."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise NotShown(MISSING) from None
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise NotShown("The judge's answer is not a file, so it is not shown.")
        return os.read(opened, MOST_BYTES + 1)
    finally:
        os.close(opened)


def check_answer(content: bytes) -> str:
    """Return the answer as text that shows figures and can do nothing else.

    Raises:
        NotShown: it is longer than an answer, is not UTF-8, or has markup that Heldout never writes.
    """
    if len(content) > MOST_BYTES:
        raise NotShown(f"The judge's answer has more than {MOST_BYTES // 1024} KiB, so it is not shown.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotShown("The judge's answer is not UTF-8, so it is not shown.") from None
    if not text.strip():
        raise NotShown(MISSING)
    if _CONTROL.search(text) or _MARKUP.search(_ESCAPED.sub(" ", text)):
        raise NotShown("The judge's answer has markup that Heldout does not write, so it is not shown.")
    return _REFERENCE.sub(r"\1&#8203;", text)
