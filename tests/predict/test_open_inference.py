"""The Open Inference Protocol v2 works with Triton's client and with recorded requests of others.

`recorded/` has requests with one image, written by Triton's client and MLServer's codecs, for a job JOB and a key KEY.
"""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import numpy as np
import pytest
from tritonclient import http as triton

from heldout import __version__
from heldout.errors import InvalidTensor
from predict.open_inference import MAX_JSON_BYTES, count_json_bytes
from tests.predict.world import World

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def client(world: World) -> Iterator[httpx2.Client]:
    with world.client() as opened:
        yield opened


def infer(client: httpx2.Client, job: str, body: dict, binary: bytes = b"", **headers: str) -> httpx2.Response:
    head = json.dumps(body).encode()
    if binary:
        headers["Inference-Header-Content-Length"] = str(len(head))
    return client.post(f"/v2/models/{job}/infer", content=head + binary, headers=headers)


def make_tensor(pixels: np.ndarray, datatype: str = "FP32", **more: object) -> dict:
    return {"name": "pixels", "shape": list(pixels.shape), "datatype": datatype, **more}


def test_tritons_client_gets_bit_exact_answers(world):
    headers = {"Authorization": f"Bearer {world.key}"}
    client = triton.InferenceServerClient(world.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.is_model_ready(world.job, headers=dict(headers))
    assert not client.is_model_ready("job_00000000000000000000000000", headers=dict(headers))
    described = client.get_model_metadata(world.job, headers=dict(headers))
    assert [tensor_description["shape"] for tensor_description in (*described["inputs"], *described["outputs"])] == [
        [-1, 8, 8, 1],
        [-1, 10],
    ]
    images = world.digits.images[:256]
    for is_binary in (True, False):
        asked = triton.InferInput("pixels", list(images.shape), "FP32")
        asked.set_data_from_numpy(images.astype(np.float32), binary_data=is_binary)
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=is_binary)]
        answer = client.infer(world.job, [asked], outputs=outputs, request_id="7", headers=dict(headers))
        assert np.array_equal(answer.as_numpy("probabilities"), world.probabilities(images))
        assert answer.get_response()["id"] == "7"
    client.close()


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*.http")), ids=lambda file: file.stem)
def test_recorded_requests_get_bit_exact_answers(world, file):
    image = (np.arange(64, dtype=np.uint8) % 17).reshape(1, 8, 8, 1)
    sent = file.read_bytes().replace(b"JOB", world.job.encode()).replace(b"KEY", world.key.encode())
    host, port = world.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        answer = HTTPResponse(connection)
        answer.begin()
        content = answer.read()
    assert answer.status == 200, content
    end = int(answer.headers.get("Inference-Header-Content-Length", len(content)))
    reply = json.loads(content[:end])
    found = np.frombuffer(content[end:], "<f4") if end < len(content) else np.array(reply["outputs"][0]["data"])
    assert np.array_equal(found.astype(np.float32).reshape(1, 10), world.probabilities(image))
    assert reply["id"] in ("r1", "m1")
    assert ("binary" in file.stem) == (end < len(content))


def test_the_server_and_models_describe_themselves(client, world):
    anonymous = httpx2.Client(base_url=world.url)
    assert anonymous.get("/v2").json()["version"] == __version__
    assert anonymous.get("/v2/health/live").json() == {"live": True}
    assert anonymous.get("/v2/health/ready").json() == {"ready": True}
    anonymous.close()
    reply = client.get(f"/v2/models/{world.job}").json()
    assert reply["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 8, 8, 1]}]
    assert reply["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]
    assert reply["parameters"]["classes"] == list(world.digits.classes)
    assert client.get(f"/v2/models/{world.job}/ready").json() == {"name": world.job, "ready": True}
    assert client.get(f"/v2/models/{world.job}/versions/1").json() == reply


@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_json_and_binary_tensors_get_identical_answers(client, world, datatype):
    images = world.digits.images[:5]
    sent = images.astype({"FP32": "<f4", "UINT8": "u1"}[datatype])
    expected = world.probabilities(images)
    flat = infer(client, world.job, {"id": "a", "inputs": [make_tensor(sent, datatype, data=sent.ravel().tolist())]})
    nested = infer(client, world.job, {"inputs": [make_tensor(sent, datatype, data=sent.tolist())]})
    for answer in (flat, nested):
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [5, 10]
        assert np.array_equal(np.array(output["data"], np.float32).reshape(5, 10), expected)
    assert (flat.json()["id"], flat.json()["model_name"], "id" in nested.json()) == ("a", world.job, False)
    asked = make_tensor(sent, datatype, parameters={"binary_data_size": sent.nbytes})
    of_output = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    for how in ({"parameters": {"binary_data_output": True}}, {"outputs": of_output}):
        answer = infer(client, world.job, {"inputs": [asked], **how}, sent.tobytes())
        length = int(answer.headers["inference-header-content-length"])
        head, binary = json.loads(answer.content[:length]), answer.content[length:]
        assert head["outputs"][0]["parameters"] == {"binary_data_size": len(binary)}
        assert np.array_equal(np.frombuffer(binary, "<f4").reshape(5, 10), expected)


IMAGE = np.zeros((1, 8, 8, 1), np.float32)
GOOD = make_tensor(IMAGE, data=IMAGE.ravel().tolist())
REFUSED = {
    "no inputs": ({}, "a list of one tensor named 'pixels'"),
    "another input": ({"inputs": [{**GOOD, "name": "x"}]}, "Received an input named 'x'; expected 'pixels'"),
    "another datatype": ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "'FP64'; expected FP32 or UINT8"),
    "another shape": ({"inputs": [{**GOOD, "shape": [1, 1, 8, 8]}]}, "received shape [1, 1, 8, 8]; expected"),
    "a boolean for a side": ({"inputs": [{**GOOD, "shape": [True, 8, 8, 1]}]}, "received shape [True, 8, 8, 1]"),
    "a side that is no integer": ({"inputs": [{**GOOD, "shape": [1.0, 8, 8, 1]}]}, "received shape [1.0, 8, 8, 1]"),
    "a negative number": ({"inputs": [{**GOOD, "shape": [-(10**400), 8, 8, 1]}]}, "received -1000"),
    "a huge number": ({"inputs": [{**GOOD, "shape": [10**400, 8, 8, 1]}]}, "Received far too many images"),
    "booleans": ({"inputs": [{**GOOD, "data": [True] * 64}]}, "must be a list of numbers"),
    "numbers as texts": ({"inputs": [{**GOOD, "data": ["1"] * 64}]}, "must be a list of numbers"),
    "a boolean size": ({"inputs": [make_tensor(IMAGE, parameters={"binary_data_size": True})]}, "size True and"),
    "no images": ({"inputs": [{**GOOD, "shape": [0, 8, 8, 1]}]}, "received 0 images"),
    "too many": ({"inputs": [{**GOOD, "shape": [4096, 8, 8, 1]}]}, "this model answers at most 1,024 at once"),
    "too few numbers": ({"inputs": [{**GOOD, "data": [1.0]}]}, "received `data` of shape [1]; expected 64 numbers"),
    "another nesting": ({"inputs": [{**GOOD, "data": IMAGE.reshape(8, 8).tolist()}]}, "of shape [8, 8]; expected 64"),
    "no numbers": ({"inputs": [{**GOOD, "data": ["a"] * 64}]}, "must be a list of numbers"),
    "a null": ({"inputs": [{**GOOD, "data": [None] * 64}]}, "received `null` in `data`"),
    "another scale": ({"inputs": [{**GOOD, "data": [200.0] * 64}]}, "Received a pixel of 200"),
    "no bytes": ({"inputs": [make_tensor(IMAGE, parameters={"binary_data_size": 256})]}, "and 0 bytes after the JSON"),
    "another output": ({"inputs": [GOOD], "outputs": [{"name": "logits"}]}, "Received an output named 'logits'"),
}  # fmt: skip


def test_the_limit_on_json_excludes_binary_data():
    assert count_json_bytes(b"{}" + bytes(MAX_JSON_BYTES), "2") == 2
    with pytest.raises(InvalidTensor, match="Send the tensor as binary data"):
        count_json_bytes(b"[" * (MAX_JSON_BYTES + 1), None)


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_requests_are_a_400_with_the_reason(client, world, name):
    body, reason = REFUSED[name]
    answer = infer(client, world.job, body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert reason in answer.json()["error"]


def test_missing_models_and_invalid_bodies_are_refused(client, world):
    for path in ("/v2/models/job_00000000000000000000000000/ready", "/v2/models/resnet", "/v2/nothing"):
        assert (client.get(path).status_code, list(client.get(path).json())) == (404, ["error"])
    assert client.get(f"/v2/models/{world.job}/versions/2").status_code == 404
    assert infer(client, world.job, {"inputs": [GOOD]}, Authorization="Bearer x").status_code == 401
    assert client.post(f"/v2/models/{world.job}/infer", content=b"{").status_code == 400
    surplus = infer(client, world.job, {"inputs": [GOOD]}, b"0123")
    assert (surplus.status_code, "4 bytes after the JSON" in surplus.text) == (400, True)
    for wrong in ("999", "0" * 5000, "-1"):
        headers = {"Inference-Header-Content-Length": wrong}
        assert client.post(f"/v2/models/{world.job}/infer", content=b"{}", headers=headers).status_code == 400
    queued = world.submitted()
    answer = client.get(f"/v2/models/{queued}/ready")
    assert (answer.status_code, list(answer.json())) == (503, ["error"])
    world.worker.fail(world.worker.claim())
