"""Invalid JSON is refused before any model validates it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.body import MAX_DEPTH, parse_json, require_json
from heldout.errors import InvalidJson, InvalidSpec, UnsupportedMediaType


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b"{'a': 1}", "line 1"),
        (b'{"a": 1,}', "line 1"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c'"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 500_000, "64 levels"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b'{"priority": ' + b"9" * 5_000 + b"}", "digits"),
    ],
)
def test_invalid_json_is_refused_with_its_position_or_the_reason(body, reason):
    with pytest.raises(InvalidJson, match=reason):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'"\\u0000"', ""),
        (b'{"a": ["x", "\\ud800"]}', "/a/1"),
        (b'{"a": {"\\u0000": 1}}', "/a/\0"),
        (b'{"\\udfff": 1}', "/\\udfff"),
    ],
)
def test_texts_that_databases_cannot_store_are_refused_by_pointer(body, pointer):
    with pytest.raises(InvalidSpec) as refused:
        parse_json(body)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_nesting_up_to_the_limit_is_accepted():
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(values.filter(lambda value: "\\u0000" not in json.dumps(value)))
def test_other_json_is_parsed_as_the_standard_library_does(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused(raw):
    with suppress(InvalidJson, InvalidSpec):
        parse_json(raw)


@pytest.mark.parametrize(
    "accepted",
    ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json", 'application/json;a="b"'],
)
def test_all_media_types_of_json_are_accepted(accepted):
    require_json(accepted)


@pytest.mark.parametrize(
    "refused", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json", "é"]
)
def test_other_media_types_are_refused(refused):
    with pytest.raises(UnsupportedMediaType):
        require_json(refused)
