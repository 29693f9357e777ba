"""A prediction process answers exactly like the exported model, and with a problem for everything else."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from numpy.lib.format import write_array_header_1_0
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from scipy.special import softmax
from starlette.datastructures import Headers

import api.disconnects
import api.http.request_id
import predict.cache
import predict.images
from analysis.arrays.dataset import compute_content_address
from heldout.errors import ImageRefused
from models.store import keys, owners
from predict.images import SentFile
from tests.api.support import assert_problem
from tests.damaged_files import damage
from tests.e2e.running import until
from tests.predict.world import TEMPERATURE, World, make_npy, predicting
from tests.worker.ingest.uploads import claim_size, with_scans


@pytest.fixture
def client(world: World) -> Iterator[httpx2.Client]:
    with world.client() as opened:
        yield opened


def make_png(image: np.ndarray, format_: str = "PNG", **options: object) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, format_, **options)
    return written.getvalue()


def ask(client: httpx2.Client, job: str, body: bytes, **params: object) -> httpx2.Response:
    return client.post(f"/v1/jobs/{job}/predict", params=params, content=body)


def get_scores(answer: httpx2.Response) -> np.ndarray:
    """Return the probabilities as (images, classes) float32, in the order of the classes."""
    assert answer.status_code == 200, answer.text
    rows = [sorted(prediction["top"], key=lambda top: top["index"]) for prediction in answer.json()["predictions"]]
    return np.array([[top["probability"] for top in row] for row in rows], np.float32)


@pytest.mark.parametrize("count", [1, 7, 256])
def test_answers_equal_the_exported_file_bit_for_bit(client, world, count):
    images = world.digits.images[:count]
    answer = ask(client, world.job, make_npy(images), top_k=10)
    assert np.array_equal(get_scores(answer), world.probabilities(images))
    first = answer.json()["predictions"][0]
    assert [guess["probability"] for guess in first["top"]] == sorted(guess["probability"] for guess in first["top"])[
        ::-1
    ]
    assert first["answer"] == first["top"][0]["label"] == world.digits.classes[first["top"][0]["index"]]
    assert (first["probability"], first["uncertain"]) == (first["top"][0]["probability"], False)


def test_image_files_and_forms_get_the_same_answers(client, world):
    images = world.digits.images[:3]
    alone = ask(client, world.job, make_png(images[0, ..., 0]), top_k=10)
    assert np.array_equal(get_scores(alone), world.probabilities(images[:1]))
    files = [("images", ("a.png", make_png(images[0, ..., 0]))), ("images", ("rest.npy", make_npy(images[1:])))]
    together = client.post(f"/v1/jobs/{world.job}/predict?top_k=10", files=files)
    assert np.array_equal(get_scores(together), world.probabilities(images))
    assert [prediction["name"] for prediction in together.json()["predictions"]] == ["a.png", "rest.npy", "rest.npy"]


def test_top_k_threshold_and_temperature_change_the_answer(client, world):
    images = world.digits.images[:20]
    raw = world.probabilities(images)
    softer = softmax(np.log(raw.astype(np.float64)) / TEMPERATURE, axis=1)
    middle = float(np.median(softer.max(axis=1)))
    answer = ask(client, world.job, make_npy(images), top_k=2, calibrated="true", threshold=middle).json()
    assert (answer["temperature"], answer["threshold"]) == (TEMPERATURE, middle)
    for prediction, chances in zip(answer["predictions"], softer, strict=True):
        assert len(prediction["top"]) == 2
        assert prediction["probability"] == pytest.approx(chances.max(), abs=1e-9)
        assert prediction["uncertain"] is (prediction["probability"] < middle)
        assert prediction["answer"] == (
            "uncertain" if prediction["uncertain"] else world.digits.classes[chances.argmax()]
        )
    assert {prediction["uncertain"] for prediction in answer["predictions"]} == {True, False}
    problem = assert_problem(ask(client, world.unseen, make_npy(images), calibrated="true"), 409, "no_temperature")
    assert "Repeat the request without `calibrated`" in problem["detail"]


def make_npy_of_shape(shape: tuple[int, ...]) -> bytes:
    """Return 64 values after a header that claims another shape."""
    written = io.BytesIO()
    write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return written.getvalue() + bytes(64)


GREY = np.zeros((8, 8), np.uint8)
NOISE = np.random.default_rng(1).integers(0, 16, (8, 8), np.uint8)
RED = np.eye(8, dtype=np.uint8)[..., None] * np.array([9, 0, 0], np.uint8)
FLAT = np.zeros((8, 8, 1, 1, 1), np.uint8)
FLOATS = np.zeros((1, 8, 8, 1), np.float32)
MANY = np.zeros((1025, 8, 8, 1), np.uint8)
REFUSED = {
    "no_images": (b"", None, ""),
    "unreadable_image": (b"GIF89a", "is GIF, which is not supported", "/images/0"),
    "unreadable_image (cut off)": (make_png(NOISE)[:60], "ends before its pixels do", "/images/0"),
    "unreadable_image (scans)": (with_scans(4000), "has 4,010 scans", "/images/0"),
    "unreadable_image (scans of a large image)": (
        claim_size(with_scans(40), 7071),
        "has 50 scans, each of which visits the whole image; at most 18 of an image of 49,999,041 pixels are read",
        "/images/0",
    ),
    "unreadable_image (bomb)": (make_png(np.zeros((9000, 9000), np.uint8)), "claims 9,000×9,000 pixels", "/images/0"),
    "unreadable_image (shape)": (make_npy_of_shape((-1, -64)), "(-1, -64), which has no image", "/images/0"),
    "wrong_size": (make_png(np.zeros((9, 7), np.uint8)), "Received 7×9 pixels", "/images/0"),
    "wrong_channels": (make_png(RED), "Received an image with colours", "/images/0"),
    "wrong_channels (array)": (make_npy(np.zeros((2, 8, 8, 3), np.uint8)), "Received 3 channels", "/images/0"),
    "wrong_channels (shape)": (make_npy(FLAT), "8 × 8 × 1 (height, width, channels)", "/images/0"),
    "wrong_dtype": (make_npy(FLOATS), "uint8 from 0 to 16. Multiply pixels from 0 to 1 by 16 and round", "/images/0"),
    "wrong_dtype (objects)": (make_npy(np.array(["a"])), "expected uint8 in an .npy", "/images/0"),
    "wrong_range": (make_png(GREY + 200), "a pixel of 200, but the dataset's pixels are from 0 to 16", "/images/0"),
    "wrong_dtype (16 bits)": (make_png(np.zeros((8, 8), np.uint16)), "Received 16 bits per channel", "/images/0"),
    "too_many_images": (make_npy(MANY), "Received 1,025 images; this model answers at most 1,024", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_unsuitable_images_are_refused_with_what_was_expected(client, world, name):
    body, reason, pointer = REFUSED[name]
    problem = assert_problem(ask(client, world.job, body), 422, name.split()[0], *filter(None, [pointer]))
    assert reason is None or reason in problem["detail"]


def test_bodies_and_parameters_have_limits(client, world):
    problem = assert_problem(ask(client, world.job, b"\0" * (1024**2 + 1)), 413, "body_too_large")
    assert "1048576 bytes" in problem["detail"]
    assert_problem(client.post(f"/v1/jobs/{world.job}/predict", json={"images": []}), 415, "unsupported_media_type")
    wrong_numbers = ({"top_k": "0"}, {"top_k": "1.5"}, {"top_k": "9" * 400}, {"threshold": "nan"})
    for wrong in (*wrong_numbers, {"calibrated": "yes"}, {"topk": "3"}):
        problem = assert_problem(ask(client, world.job, make_png(GREY), **wrong), 400, "invalid_parameter")
        assert next(iter(wrong)) in problem["detail"]
    other_field = client.post(f"/v1/jobs/{world.job}/predict", files={"image": ("a.png", make_png(GREY))})
    assert_problem(other_field, 400, "invalid_form")
    broken = {"content": b"--x\r\nno header", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    problem = assert_problem(client.post(f"/v1/jobs/{world.job}/predict", **broken), 400, "invalid_form")
    assert problem["detail"].startswith("The form cannot be read. Expected multipart/form-data with 1 to 1,024 files")


def test_requests_with_wrong_parameters_count_toward_the_rate(world):
    with predicting(world.settings.model_copy(update={"rate": "2/minute"})) as url, world.client() as client:
        path = f"{url}/v1/jobs/{world.job}/predict"
        first = client.post(f"{path}?x=1")
        assert (first.status_code, first.headers["RateLimit"].split(";")[1]) == (400, "r=1")
        client.post(f"{path}?top_k=none")
        assert_problem(client.post(path, content=make_png(GREY)), 429, "too_many_requests")


FORMS = {
    "undefined": (b"a.png", 400),
    "utf-7": (b"a.png", 200),
    "unicode_escape": (rb"\ud800.png", 200),
}  # fmt: skip


@pytest.mark.parametrize("charset", FORMS)
def test_names_in_any_charset_of_a_form_are_read_or_refused(client, world, charset):
    name, status = FORMS[charset]
    disposition = b'form-data; name="images"; filename="' + name + b'"'
    body = b"--a\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + make_png(GREY) + b"\r\n--a--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary=a; charset={charset}"}
    answer = client.post(f"/v1/jobs/{world.job}/predict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["predictions"][0]["name"].endswith(".png")
    else:
        assert_problem(answer, 400, "invalid_form")


def test_a_suspended_owner_is_refused_within_a_second(world):
    with world.database.write() as session:
        key = keys.make(session, "mallory")
        owners.suspend(session, "mallory")
    with world.client(key) as suspended:
        assert_problem(ask(suspended, world.job, make_png(GREY)), 403, "owner_suspended")


def test_only_owners_are_answered_and_revoked_keys_are_refused_within_a_second(client, world):
    with world.database.write() as session:
        eve, lost = keys.make(session, "eve"), keys.make(session, "ada")
    with world.client(eve) as stranger:
        assert_problem(ask(stranger, world.job, make_png(GREY)), 404, "job_not_found")
    assert_problem(ask(client, "job_00000000000000000000000000", make_png(GREY)), 404, "job_not_found")
    assert_problem(ask(client, "mod_00000000000000000000000000", make_png(GREY)), 404, "job_not_found")
    anonymous = httpx2.post(f"{world.url}/v1/jobs/{world.job}/predict", content=make_png(GREY))
    assert_problem(anonymous, 401, "unauthenticated")
    with world.client(lost) as loser:
        assert ask(loser, world.job, make_png(GREY)).status_code == 200
        with world.database.write() as session:
            keys.revoke(session, keys.get_row(session, lost).id)
        time.sleep(1.1)  # revocation is promised to take effect within a second
        assert_problem(ask(loser, world.job, make_png(GREY)), 401, "unauthenticated")


def test_the_first_request_orders_an_export_and_a_later_one_is_answered(client, world):
    queued = world.submitted()
    assert_problem(ask(client, queued, make_png(GREY)), 409, "not_ready")
    held = world.worker.claim()
    assert held.job_id == queued
    world.worker.fail(held)
    assert_problem(ask(client, queued, make_png(GREY)), 409, "no_model")
    job = world.trained(calibrated=False)
    first = ask(client, job, make_png(GREY), wait=0.1)
    assert "model as onnx is queued" in assert_problem(first, 409, "not_ready")["detail"]
    assert first.headers["retry-after"]
    world.export(job, is_ordered=True)
    images = world.digits.images[:2]
    assert np.array_equal(get_scores(ask(client, job, make_npy(images), top_k=10)), world.probabilities(images))


def test_exports_lost_by_the_blob_store_are_reported_as_lost(client, world):
    job = world.trained(calibrated=False)
    world.export(job)
    world.worker.blobs.delete_all(f"jobs/{job}/exports")
    detail = assert_problem(ask(client, job, make_png(GREY)), 410, "export_lost")["detail"]
    assert f"POST /v1/jobs/{job}/model?format=onnx" in detail


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_model_gives_no_answers_and_a_damaged_gap_no_temperature(client, world, how):
    job = world.trained(calibrated=True)
    world.export(job)
    blobs = world.worker.blobs
    [key] = [blob.key for blob in blobs.stored(f"jobs/{job}/exports")]
    whole = damage(blobs, key, how)
    assert "POST" in assert_problem(ask(client, job, make_png(GREY)), 410, "artifact_damaged")["detail"]
    blobs.put(key, whole)
    damage(blobs, f"jobs/{job}/1/gap.json", how)
    assert ask(client, job, make_png(GREY)).status_code == 200
    assert_problem(ask(client, job, make_png(GREY), calibrated="true"), 410, "artifact_damaged")


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_one_look_is_counted_if_test_images_cannot_be_recognized(client, world, how):
    job = world.trained(calibrated=False, test="never")
    world.export(job)
    blobs, sha256 = world.worker.blobs, compute_content_address(world.digits)
    whole = damage(blobs, f"datasets/{sha256}/splits.npz", how)
    try:
        for _ in range(2):
            train_image = world.digits.images[world.digits.splits["train"][0], ..., 0]
            assert ask(client, job, make_png(train_image)).status_code == 200
            assert world.test_looks(job) == 1
    finally:
        blobs.put(f"datasets/{sha256}/splits.npz", whole)


def test_the_requests_of_one_owner_that_wait_for_exports_are_limited(client, world, monkeypatch):
    monkeypatch.setattr(predict.cache, "MAX_WAITING_EACH", 1)
    job = world.trained(calibrated=False)
    with ThreadPoolExecutor() as threads:
        both = [threads.submit(ask, client, job, make_png(GREY), wait=60) for _ in range(2)]
        refused = next(as_completed(both, timeout=240))
        assert_problem(refused.result(), 409, "not_ready")
        world.export(job, is_ordered=True)
        [waited] = {*both} - {refused}
        assert waited.result().status_code == 200


def test_metrics_count_requests_images_and_models(client, world):
    def read_metrics() -> dict[str, float]:
        text = httpx2.get(f"{world.url}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {"_".join((sample.name, *sample.labels.values())): sample.value for sample in samples}

    asked = read_metrics().get("heldout_predict_seconds_count", 0)
    ask(client, world.job, make_png(GREY))
    until(lambda: read_metrics().get("heldout_predict_seconds_count", 0) > asked, "the update of the metrics")
    before = read_metrics()
    ask(client, world.job, make_npy(world.digits.images[:7]))
    ask(client, world.job, b"no image")
    # A request is counted after its response is sent.
    count = "heldout_predict_seconds_count"
    until(lambda: read_metrics()[count] >= before[count] + 2, "the update of the metrics")
    after = read_metrics()
    changed = {name: value - before.get(name, 0) for name, value in after.items() if name.startswith("heldout_predict")}
    assert changed["heldout_predict_requests_total_2xx"] == changed["heldout_predict_requests_total_4xx"] == 1
    assert (changed["heldout_predict_images_total"], changed["heldout_predict_seconds_count"]) == (7, 2)
    assert 1 <= after["heldout_predict_models"] <= after["heldout_predict_loads_total"]
    assert after["heldout_predict_models_bytes"] > len(world.file)


def test_decoding_stops_soon_after_the_client_disconnects(client, world, monkeypatch, log_lines):
    monkeypatch.setattr(api.disconnects, "WATCH_AFTER_S", 0.01)
    decode, decoded, started = predict.images._read_image, [], threading.Event()

    def slowly(file: SentFile, *more: object) -> np.ndarray:
        decoded.append(file)
        started.set()
        time.sleep(0.05)
        return decode(file, *more)

    monkeypatch.setattr(predict.images, "_read_image", slowly)
    files = [("images", (f"{number}.png", make_png(GREY))) for number in range(500)]
    request = client.build_request("POST", f"/v1/jobs/{world.job}/predict", files=files)
    head = [f"POST {request.url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with socket.create_connection((request.url.host, request.url.port)) as leaving:
        leaving.sendall("\r\n".join([*head, "", ""]).encode() + request.read())
        assert started.wait(60)
    assert until(lambda: '"status": 499' in log_lines.getvalue(), "logging of the aborted request")
    assert 0 < len(decoded) < 400


def test_cheap_refusals_of_an_owner_do_not_delay_another(client, world, monkeypatch):
    """Each keeps the thread that reads and writes for a moment, and all had come before the other owner's request.

    How long that one's answer takes depends on the machine's other work. When its turn comes does not.
    """
    refused: list[int] = []
    keys_in_turn: list[str] = []
    choose_id = api.http.request_id.choose_request_id  # called by that thread as each turn begins

    def choose_and_note(headers: Headers) -> str:
        if not keys_in_turn:
            assert may_begin.acquire(timeout=60)
        keys_in_turn.append(headers["Authorization"])
        return choose_id(headers)

    may_begin = threading.Semaphore(0)

    def refuse_slowly(file: SentFile, first: int, model: object) -> np.ndarray:
        time.sleep(0.02)
        refused.append(first)
        raise ImageRefused(first, None, "Received nothing.")

    monkeypatch.setattr(predict.images, "_load_array", refuse_slowly)
    with world.database.write() as session:
        other = keys.make(session, "bob")
    body, target, address = make_npy(world.digits.images[:1]), f"/v1/jobs/{world.job}/predict", urlsplit(world.url)

    def write_request(key: str, method: str, target: str, content: bytes = b"") -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}"]
        return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content

    with ExitStack() as opened:
        connections = [
            opened.enter_context(socket.create_connection((address.hostname, address.port))) for _ in range(61)
        ]
        for connection in connections:  # as the API's, they have been used before
            connection.sendall(write_request(world.key, "GET", f"/v2/models/{world.job}"))
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65_536)
        *of_owner, of_other = connections
        monkeypatch.setattr(api.http.request_id, "choose_request_id", choose_and_note)
        for connection in of_owner:
            connection.sendall(write_request(world.key, "POST", target, body))
        of_other.sendall(write_request(other, "POST", target, body))
        may_begin.release()
        assert of_other.recv(1000).startswith(b"HTTP/1.1 404 ")
        assert until(lambda: len(refused) == 60, "the end of the refusals")
    assert keys_in_turn.index(f"Bearer {other}") < 10


def test_only_test_images_count_in_the_ledger_and_only_once(client, world):
    def looks() -> int:
        return world.test_looks(world.unseen)

    digits = world.digits
    assert ask(client, world.unseen, make_npy(digits.images[digits.splits["train"][:50]])).status_code == 200
    assert looks() == 0
    for _ in range(2):
        test_image = digits.images[digits.splits["test"][3], ..., 0]
        assert ask(client, world.unseen, make_png(test_image)).status_code == 200
        assert looks() == 1
