"""Every request for predictions is answered or refused with a reason, and none gives a 500."""

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.errors import WrongRange
from predict.model import OnnxNetwork, ServedFacts, ServedModel
from predict.work import finish_pieces
from tests.predict.world import World, make_npy, network_file
from tests.worker.ingest.uploads import encoded, noise, with_scans


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx2.Client]:
    with world.client() as opened:
        yield opened


GOOD: dict[str, Any] = {
    "id": "a",
    "inputs": [{"name": "pixels", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [1.0] * 64}],
    "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}],
}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([10**30, -(10**400), 2**63, 1e300, -0.0, 1.5, math.inf, math.nan])
    | st.sampled_from(["", "pixels", "probabilities", "FP32", "UINT8", "BYTES", "a\0b", "\ud800", "x" * 5000, "1"])
)
VALUES = st.recursive(
    LEAVES, lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(max_size=3), of, max_size=3)
)
PLACES = [
    ("id",),
    ("inputs",),
    ("inputs", 0),
    *(("inputs", 0, name) for name in ("name", "shape", "datatype", "data", "parameters")),
    *(("inputs", 0, "shape", axis) for axis in range(4)),
    ("inputs", 0, "data", 7),
    ("inputs", 0, "parameters", "binary_data_size"),
    ("outputs",),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters"),
    ("outputs", 0, "parameters", "binary_data"),
    ("parameters",),
    ("parameters", "binary_data_output"),
]


def with_value(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return the content with another value at a place, or unchanged if the place no longer exists."""
    if not place:
        return value
    if isinstance(content, list) and isinstance(place[0], int) and place[0] < len(content):
        return [with_value(part, place[1:], value) if at == place[0] else part for at, part in enumerate(content)]
    if isinstance(content, dict):
        return content | {place[0]: with_value(content.get(place[0], {}), place[1:], value)}
    return content


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def assert_answered(answer: httpx2.Response, *reason: str) -> None:
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if "inference-header-content-length" not in answer.headers:
        content = json.loads(answer.content, parse_constant=refuse_constant)
        assert answer.status_code == 200 or all(content[name] for name in reason), content


@settings(max_examples=100)
@given(
    changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3), binary=st.binary(max_size=9)
)
def test_any_json_as_a_tensor_is_answered_or_refused(client, world, changes, binary):
    content = GOOD
    for place, value in changes:
        content = with_value(content, place, value)
    head = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
    assert_answered(client.post(f"/v2/models/{world.job}/infer", content=head + binary, headers=headers), "error")


RAW = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"inputs":' * 50_000,
    "deep data": json.dumps(GOOD).replace("[1.0,", "[" * 63 + "1" + "]" * 63 + ",", 1).encode(),
    "a repeated name": b'{"inputs": [], "inputs": []}',
    "a number with many digits": b'{"inputs": [' + b"9" * 5000 + b"]}",
    "texts of different lengths": json.dumps(with_value(GOOD, ("inputs", 0, "data"), ["a" * 300_000, *[""] * 99_999])),
    "not UTF-8": b"\xff\xfe",
    "NaN": b'{"inputs": NaN}',
}


@pytest.mark.parametrize("name", RAW)
def test_invalid_or_deeply_nested_json_is_refused(client, world, name):
    answer = client.post(f"/v2/models/{world.job}/infer", content=RAW[name])
    assert answer.status_code == 400, answer.text
    assert_answered(answer, "error")


ARRAYS = [
    np.zeros((8, 8), np.uint8),
    np.full((2, 8, 8, 1), np.inf),
    np.zeros((1, 8, 8, 1), ">f8"),
    np.zeros((1, 0, 8, 1)),
]
FILES = [
    *map(make_npy, ARRAYS),
    make_npy(np.array(["2026-01-01"], "M8[D]")),
    make_npy(np.zeros(3, [("a", "u1"), ("b", "f4")])),
    encoded(noise((8, 8))),
    encoded(noise((8, 8)), "JPEG", progressive=True),
    encoded(noise((8, 8, 4)), "WEBP"),
    encoded(noise((8, 8, 3)), "BMP"),
    with_scans(60),
]
NAMES = st.sampled_from(["a.png", "", "\x1b[31m", "‮gnp.a", "a\nb", "x" * 5000, "images"])


@settings(max_examples=100)
@given(
    file=st.sampled_from(FILES),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    end=st.none() | st.integers(0, 200),
    name=st.none() | NAMES,
    kind=st.sampled_from(
        ["image/png", "application/json", "", "multipart/form-data", "multipart/form-data; boundary=x"]
    ),
    params=st.dictionaries(
        st.sampled_from(["top_k", "threshold", "calibrated", "wait", "x"]),
        st.sampled_from(["", "1", "-1", "nan", "1e999", "9" * 5000, "true", "0.5", "\0", "١"]),
        max_size=2,
    ),
)
def test_any_file_as_an_image_is_answered_or_refused(client, world, file, damage, end, name, kind, params):
    body = bytearray(file[:end])
    for at, value in damage:
        if at < len(body):
            body[at] = value
    sent: dict[str, Any] = {"content": bytes(body), "headers": {"Content-Type": kind}}
    if name is not None:
        sent = {"files": [("images", (name, bytes(body))), (name[:9], ("b", bytes(body)))]}
    answer = client.post(f"/v1/jobs/{world.job}/predict", params=params | {"wait": "0"}, **sent)
    assert_answered(answer, "code", "detail", "title")
    assert "\x1b" not in answer.text


def test_values_that_overflow_the_network_are_refused():
    facts = ServedFacts("job_1", "ada", "pets@1", None, np.dtype(np.float32), None, False, 1, None, None)
    model = ServedModel(OnnxNetwork(network_file((8, 8, 1), (-3.2, 5.7)), threads=1), facts, 1, held_out=None)
    pixels = np.zeros((2, 8, 8, 1), np.float32)
    pixels[1] = 3e38
    with pytest.raises(WrongRange, match=r"Image 2: .* is not a number.*from -3.2 to 5.7"):
        finish_pieces(model.answer(pixels, pixels))
