"""An Accept header chooses the media type of a response."""

import pytest

from api.http.forms import choose_preferred

OFFERED = ("application/json", "text/markdown", "text/html")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),  # a browser's
        ("text/markdown, text/html;q=0.9", "text/markdown"),
        ("Text/HTML", "text/html"),
        ("text/*", "text/markdown"),
        ("text/*;q=0.5, text/html;q=0.4, application/json;q=0.1", "text/markdown"),
        ("text/html;q=0, */*", "application/json"),
        ("application/json;q=0, text/html;q=0.1", "text/html"),
        ("image/png", "application/json"),
        ("nonsense, ;;, text/html;q=x, text/markdown;q=0.2", "text/markdown"),
    ],
)
def test_the_preferred_type_is_chosen(accept, expected):
    assert choose_preferred(accept, OFFERED) == expected
