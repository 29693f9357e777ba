"""Measures how short and plain a headline and a summary are."""

import re

MOST_HEADLINE_WORDS, MOST_SUMMARY_WORDS, MOST_SENTENCES = 12, 40, 2


def sentences_of(text: str) -> list[str]:
    """Split after a period, question mark or exclamation mark that precedes a capital letter, a quote or the end."""
    return [part for part in re.split(r"(?<=[.?!])\s+(?=[A-Z\"])", text.strip()) if part]


def assert_short(headline: str, summary: str) -> None:
    """Check the limits of the three layers of words."""
    assert headline.endswith("."), headline
    assert len(sentences_of(headline)) == 1, headline
    assert len(headline.split()) <= MOST_HEADLINE_WORDS, headline
    assert summary.endswith("."), summary
    assert 1 <= len(sentences_of(summary)) <= MOST_SENTENCES, summary
    assert len(summary.split()) <= MOST_SUMMARY_WORDS, summary
    assert not re.search(r"\d %|[«»]|\bNone\b(?! of)|\bnan\b|[{}]", f"{headline} {summary}"), (headline, summary)
