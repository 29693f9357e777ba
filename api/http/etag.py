"""Entity tags: a job's version in quotes, compared as RFC 9110 has it for If-None-Match and If-Match."""

import re

from heldout.errors import InvalidParameter

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_LIST = re.compile(rf"\s*{_TAG.pattern}\s*(?:,\s*(?:{_TAG.pattern}\s*)?)*")


def etag_of(version: int) -> str:
    """The strong tag of a version."""
    return f'"{version}"'


def matches(if_none_match: str, version: int) -> bool:
    """Whether the If-None-Match header (tags separated by commas, weak ones too, or `*`) holds this version."""
    return if_none_match.strip() == "*" or str(version) in _TAG.findall(if_none_match)


def allows_change(if_match: str, version: int) -> bool:
    """Whether the If-Match header (`*`, or tags separated by commas) holds this version. A weak tag never does.

    Raises:
        InvalidParameter: if the header is neither.
    """
    if if_match.strip() == "*":
        return True
    if not _LIST.fullmatch(if_match):
        raise InvalidParameter(
            f'`If-Match`: received {if_match[:100]!r}; expected `*`, or ETags in their quotes, such as "{version}".'
        )
    return any(tag[0] == etag_of(version) for tag in _TAG.finditer(if_match))
