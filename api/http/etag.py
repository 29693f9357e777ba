"""Entity tags: a job's version in quotes, compared as RFC 9110 has it for If-None-Match."""

import re

_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def etag_of(version: int) -> str:
    """The strong tag of a version."""
    return f'"{version}"'


def matches(if_none_match: str, version: int) -> bool:
    """Whether the If-None-Match header (tags separated by commas, weak ones too, or `*`) holds this version."""
    return if_none_match.strip() == "*" or str(version) in _TAG.findall(if_none_match)
