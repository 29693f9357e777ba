"""Names of members: normalized, or refused if they are unsafe to use or to display."""

import re
import unicodedata

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.rejection import Rejection, clean_name

MAX_NAME_BYTES = 1024
_JUNK = re.compile(
    r"(?:^|/)(?:\._|(?:\.DS_Store|Thumbs\.db|ehthumbs\.db|desktop\.ini)$|(?:__MACOSX|\.ipynb_checkpoints|@eaDir|\.git)/)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[A-Za-z0-9_\-+ ()\[\],=@#&!~]+(?:[./][A-Za-z0-9_\-+ ()\[\],=@#&!~]+)*")


def decode_name(raw: bytes) -> str:
    """The text of a name.

    Raises:
        Rejection: `name_not_utf8`.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        shown = raw.decode("ascii", "backslashreplace")
        raise Rejection(
            RejectionCode.NAME_NOT_UTF8,
            f"The name {clean_name(shown)!r} is not UTF-8. Rename the file, or pack the archive with a tool that "
            "writes UTF-8 names.",
            shown,
        ) from None


def make_safe(name: str) -> str:
    """A relative path with `/` between its parts, in Unicode's composed form; a folder keeps its last `/`.

    Raises:
        Rejection: `unsafe_path`.
    """
    if _PLAIN.fullmatch(name) and len(name) <= MAX_NAME_BYTES:
        return name
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise _make_unsafe(name, "has control characters")
    # Windows' own packer writes backslashes.
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _make_unsafe(name, f"is longer than {MAX_NAME_BYTES} bytes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    # After `./` the first part may be a drive, too: `./C:/x` is `C:/x`.
    if name.startswith("/") or (parts and re.match(r"[A-Za-z]:", parts[0])):
        raise _make_unsafe(name, "is absolute")
    if ".." in parts:
        raise _make_unsafe(name, "leaves the archive's folder")
    return "/".join(parts) + ("/" if name.endswith("/") and parts else "")


def is_junk(name: str) -> bool:
    """Whether the file is one that operating systems and editors leave behind."""
    return _JUNK.search(name) is not None


def _make_unsafe(name: str, why: str) -> Rejection:
    return Rejection(
        RejectionCode.UNSAFE_PATH,
        f"The name {clean_name(name)!r} {why}. Pack relative paths, such as `class/file.png`.",
        name,
    )
