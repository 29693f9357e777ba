"""Specs from files, and their changes by `--set`."""

import copy
import io
import sys

import pytest

from heldout.cli.outcome import Refused
from heldout.cli.spec_files import apply_settings, parse_value, put, read_spec

SPEC = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 4}, {"filters": 8}]},
    "augmentation": None,
    "training": {"epochs": 10},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"3"', "3"),
        ("adam", "adam"),
        ("", ""),
        ("a=b", "a=b"),
        ("007", "007"),
        ("True", "True"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_is_parsed_as_json_or_else_kept_as_text(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("training.epochs=3", ("training", "epochs"), 3),
        ("network.blocks.1.filters=16", ("network", "blocks", 1, "filters"), 16),
        ("dataset=pets@3", ("dataset",), "pets@3"),
        ("name=a=b", ("name",), "a=b"),
        ("training.optimizer.name=sgd", ("training", "optimizer", "name"), "sgd"),
        ("augmentation.zoom=0.1", ("augmentation", "zoom"), 0.1),
        ("metadata.team=vision", ("metadata", "team"), "vision"),
        ('network.blocks.2={"filters": 2}', ("network", "blocks", 2), {"filters": 2}),
        ("network.blocks.2.filters=2", ("network", "blocks", 2, "filters"), 2),
        ("network.dense=[]", ("network", "dense"), []),
    ],
    ids=str,
)
def test_a_setting_changes_only_its_place(setting, path, value):
    spec = copy.deepcopy(SPEC)
    put(spec, setting)
    place = spec
    for key in path:
        place = place[key]
    assert place == value
    kept = {name: part for name, part in spec.items() if name != path[0]}
    assert kept == {name: part for name, part in SPEC.items() if name != path[0]}


def test_a_setting_in_an_object_keeps_the_other_fields():
    spec = copy.deepcopy(SPEC)
    put(spec, "network.blocks.0.pool=1")
    assert spec["network"] == {"blocks": [{"filters": 4, "pool": 1}, {"filters": 8}]}


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("training.epochs", "expected path=value"),
        ("=3", "expected path=value"),
        ("training..epochs=3", "expected path=value"),
        (".training=3", "expected path=value"),
        ("dataset.name=3", "dataset is text"),
        ("training.epochs.x=3", "training.epochs is a number"),
        ("network.blocks.first.filters=3", "'first' is not a position in a list"),
        ("network.blocks.-1.filters=3", "'-1' is not a position in a list"),
        ("network.blocks.3.filters=3", "the list has 2"),
        ("network.blocks.99999999999999999999=3", "the list has 2"),
    ],
    ids=str,
)
def test_a_setting_that_does_not_fit_is_refused_by_name(setting, why):
    with pytest.raises(Refused, match="--set ") as refused:
        put(copy.deepcopy(SPEC), setting)
    assert why in str(refused.value)
    assert setting in str(refused.value)


def test_settings_apply_in_order(tmp_path):
    (tmp_path / "spec.json").write_text('{"dataset": "digits"}')
    spec = apply_settings(read_spec(str(tmp_path / "spec.json")), ["training.epochs=3", "training.epochs=4", "name=x"])
    assert spec == {"dataset": "digits", "training": {"epochs": 4}, "name": "x"}


def test_a_dash_reads_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('{"name": "ü"}'.encode())))
    assert read_spec("-") == {"name": "ü"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b"", "line 1, column 1"),
        (b"[1]", "a spec is a JSON object, this is a list"),
        (b"null", "this is null"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_file_without_a_spec_is_refused_with_the_position(tmp_path, content, why):
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"spec\.json") as refused:
        read_spec(str(path))
    assert why in str(refused.value)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "spec.json").write_text('{"dataset": "digits"}', encoding="utf-8-sig")
    assert read_spec(str(tmp_path / "spec.json")) == {"dataset": "digits"}


@pytest.mark.parametrize(("name", "why"), [("none.json", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, why):
    with pytest.raises(Refused, match=why):
        read_spec(str(tmp_path / name))
