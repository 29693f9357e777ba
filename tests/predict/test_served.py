"""The responses of a process for predictions: the exported model's own, and a problem for everything else."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx2
import numpy as np
import pytest
from numpy.lib.format import write_array_header_1_0
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from scipy.special import softmax

import api.disconnects
import predict.cache
import predict.images
from analysis.arrays.dataset import compute_content_address
from models.store import keys, owners
from predict.images import SentFile
from tests.api.support import assert_problem
from tests.damaged_files import damage
from tests.e2e.running import until
from tests.predict.world import TEMPERATURE, World, npy, predicting
from tests.worker.ingest.uploads import with_scans


@pytest.fixture
def client(world: World) -> Iterator[httpx2.Client]:
    with world.client() as opened:
        yield opened


def png(image: np.ndarray, format_: str = "PNG", **options: object) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, format_, **options)
    return written.getvalue()


def ask(client: httpx2.Client, job: str, body: bytes, **params: object) -> httpx2.Response:
    return client.post(f"/v1/jobs/{job}/predict", params=params, content=body)


def scores(answer: httpx2.Response) -> np.ndarray:
    """(images, classes) float32, in the order of the classes."""
    assert answer.status_code == 200, answer.text
    rows = [sorted(one["top"], key=lambda top: top["index"]) for one in answer.json()["predictions"]]
    return np.array([[top["probability"] for top in row] for row in rows], np.float32)


@pytest.mark.parametrize("count", [1, 7, 256])
def test_answers_are_to_the_bit_those_of_the_exported_file_for_the_same_batch(client, world, count):
    images = world.digits.images[:count]
    answer = ask(client, world.job, npy(images), top_k=10)
    assert np.array_equal(scores(answer), world.probabilities(images))
    first = answer.json()["predictions"][0]
    assert [one["probability"] for one in first["top"]] == sorted(one["probability"] for one in first["top"])[::-1]
    assert first["answer"] == first["top"][0]["label"] == world.digits.classes[first["top"][0]["index"]]
    assert (first["probability"], first["uncertain"]) == (first["top"][0]["probability"], False)


def test_an_image_file_is_the_same_image_and_a_form_holds_several(client, world):
    images = world.digits.images[:3]
    alone = ask(client, world.job, png(images[0, ..., 0]), top_k=10)
    assert np.array_equal(scores(alone), world.probabilities(images[:1]))
    files = [("images", ("a.png", png(images[0, ..., 0]))), ("images", ("rest.npy", npy(images[1:])))]
    together = client.post(f"/v1/jobs/{world.job}/predict?top_k=10", files=files)
    assert np.array_equal(scores(together), world.probabilities(images))
    assert [one["name"] for one in together.json()["predictions"]] == ["a.png", "rest.npy", "rest.npy"]


def test_top_k_a_threshold_and_the_temperature_change_the_answer(client, world):
    images = world.digits.images[:20]
    raw = world.probabilities(images)
    softer = softmax(np.log(raw.astype(np.float64)) / TEMPERATURE, axis=1)
    middle = float(np.median(softer.max(axis=1)))
    answer = ask(client, world.job, npy(images), top_k=2, calibrated="true", threshold=middle).json()
    assert (answer["temperature"], answer["threshold"]) == (TEMPERATURE, middle)
    for said, chances in zip(answer["predictions"], softer, strict=True):
        assert len(said["top"]) == 2
        assert said["probability"] == pytest.approx(chances.max(), abs=1e-9)
        assert said["uncertain"] is (said["probability"] < middle)
        assert said["answer"] == ("uncertain" if said["uncertain"] else world.digits.classes[chances.argmax()])
    assert {one["uncertain"] for one in answer["predictions"]} == {True, False}
    problem = assert_problem(ask(client, world.unseen, npy(images), calibrated="true"), 409, "no_temperature")
    assert "Repeat the request without `calibrated`" in problem["detail"]


def npy_of_shape(shape: tuple[int, ...]) -> bytes:
    """64 values behind a header that says another shape."""
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
    "unreadable_image (cut off)": (png(NOISE)[:60], "ends before its pixels do", "/images/0"),
    "unreadable_image (scans)": (with_scans(4000), "has 4,010 scans", "/images/0"),
    "unreadable_image (bomb)": (png(np.zeros((9000, 9000), np.uint8)), "claims 9,000×9,000 pixels", "/images/0"),
    "unreadable_image (shape)": (npy_of_shape((-1, -64)), "(-1, -64), which has no image", "/images/0"),
    "wrong_size": (png(np.zeros((9, 7), np.uint8)), "Received 7×9 pixels", "/images/0"),
    "wrong_channels": (png(RED), "Received an image with colours", "/images/0"),
    "wrong_channels (array)": (npy(np.zeros((2, 8, 8, 3), np.uint8)), "Received 3 channels", "/images/0"),
    "wrong_channels (shape)": (npy(FLAT), "8 × 8 × 1 (height, width, channels)", "/images/0"),
    "wrong_dtype": (npy(FLOATS), "Received float32, but the dataset's pixels are uint8", "/images/0"),
    "wrong_dtype (objects)": (npy(np.array(["a"])), "expected uint8 in an .npy", "/images/0"),
    "wrong_range": (png(GREY + 200), "Received a pixel of 200, but the dataset's pixels are from 0 to 16", "/images/0"),
    "wrong_dtype (16 bits)": (png(np.zeros((8, 8), np.uint16)), "Received 16 bits per channel", "/images/0"),
    "too_many_images": (npy(MANY), "Received 1,025 images; this model answers at most 1,024", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_model_does_not_take_is_a_problem_that_says_what_came_and_what_it_takes(client, world, name):
    body, said, pointer = REFUSED[name]
    problem = assert_problem(ask(client, world.job, body), 422, name.split()[0], *filter(None, [pointer]))
    assert said is None or said in problem["detail"]


def test_bodies_and_parameters_have_limits(client, world):
    problem = assert_problem(ask(client, world.job, b"\0" * (1024**2 + 1)), 413, "body_too_large")
    assert "1048576 bytes" in problem["detail"]
    assert_problem(client.post(f"/v1/jobs/{world.job}/predict", json={"images": []}), 415, "unsupported_media_type")
    wrong_numbers = ({"top_k": "0"}, {"top_k": "1.5"}, {"top_k": "9" * 400}, {"threshold": "nan"})
    for wrong in (*wrong_numbers, {"calibrated": "yes"}, {"topk": "3"}):
        problem = assert_problem(ask(client, world.job, png(GREY), **wrong), 400, "invalid_parameter")
        assert next(iter(wrong)) in problem["detail"]
    other_field = client.post(f"/v1/jobs/{world.job}/predict", files={"image": ("a.png", png(GREY))})
    assert_problem(other_field, 400, "invalid_form")
    broken = {"content": b"--x\r\nno header", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    problem = assert_problem(client.post(f"/v1/jobs/{world.job}/predict", **broken), 400, "invalid_form")
    assert problem["detail"].startswith("The form cannot be read. Expected multipart/form-data with 1 to 1,024 files")


def test_a_request_with_wrong_parameters_counts_as_one(world):
    with predicting(world.settings.model_copy(update={"rate": "2/minute"})) as url, world.client() as client:
        path = f"{url}/v1/jobs/{world.job}/predict"
        first = client.post(f"{path}?x=1")
        assert (first.status_code, first.headers["RateLimit"].split(";")[1]) == (400, "r=1")
        client.post(f"{path}?top_k=none")
        assert_problem(client.post(path, content=png(GREY)), 429, "too_many_requests")


FORMS = {
    "undefined": (b"a.png", 400),
    "utf-7": (b"a.png", 200),
    "unicode_escape": (rb"\ud800.png", 200),
}  # fmt: skip


@pytest.mark.parametrize("charset", FORMS)
def test_names_in_whatever_charset_a_form_says_are_read_or_refused(client, world, charset):
    name, status = FORMS[charset]
    disposition = b'form-data; name="images"; filename="' + name + b'"'
    body = b"--a\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + png(GREY) + b"\r\n--a--\r\n"
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
        assert_problem(ask(suspended, world.job, png(GREY)), 403, "owner_suspended")


def test_only_the_owner_of_a_job_is_answered_and_a_revoked_key_is_refused_within_a_second(client, world):
    with world.database.write() as session:
        eve, lost = keys.make(session, "eve"), keys.make(session, "ada")
    with world.client(eve) as stranger:
        assert_problem(ask(stranger, world.job, png(GREY)), 404, "job_not_found")
    assert_problem(ask(client, "job_00000000000000000000000000", png(GREY)), 404, "job_not_found")
    assert_problem(ask(client, "mod_00000000000000000000000000", png(GREY)), 404, "job_not_found")
    nobody = httpx2.post(f"{world.url}/v1/jobs/{world.job}/predict", content=png(GREY))
    assert_problem(nobody, 401, "unauthenticated")
    with world.client(lost) as loser:
        assert ask(loser, world.job, png(GREY)).status_code == 200
        with world.database.write() as session:
            keys.revoke(session, keys.get_row(session, lost).id)
        time.sleep(1.1)  # what is promised
        assert_problem(ask(loser, world.job, png(GREY)), 401, "unauthenticated")


def test_the_first_request_orders_the_export_and_a_later_one_is_answered(client, world):
    queued = world.submitted()
    assert_problem(ask(client, queued, png(GREY)), 409, "not_ready")
    held = world.worker.claim()
    assert held.job_id == queued
    world.worker.fail(held)
    assert_problem(ask(client, queued, png(GREY)), 409, "no_model")
    job = world.trained(calibrated=False)
    first = ask(client, job, png(GREY), wait=0.1)
    assert "model as onnx is queued" in assert_problem(first, 409, "not_ready")["detail"]
    assert first.headers["retry-after"]
    world.export(job, is_ordered=True)
    images = world.digits.images[:2]
    assert np.array_equal(scores(ask(client, job, npy(images), top_k=10)), world.probabilities(images))


def test_a_file_that_the_blob_store_lost_before_it_was_loaded_is_said_to_be_lost(client, world):
    job = world.trained(calibrated=False)
    world.export(job)
    world.worker.blobs.delete_all(f"jobs/{job}/exports")
    detail = assert_problem(ask(client, job, png(GREY)), 410, "export_lost")["detail"]
    assert f"POST /v1/jobs/{job}/model?format=onnx" in detail


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_file_gives_no_answers_and_a_damaged_gap_takes_the_temperature_alone(client, world, how):
    job = world.trained(calibrated=True)
    world.export(job)
    blobs = world.worker.blobs
    [key] = [one.key for one in blobs.stored(f"jobs/{job}/exports")]
    whole = damage(blobs, key, how)
    assert "POST" in assert_problem(ask(client, job, png(GREY)), 410, "artifact_damaged")["detail"]
    blobs.put(key, whole)
    damage(blobs, f"jobs/{job}/1/gap.json", how)
    assert ask(client, job, png(GREY)).status_code == 200
    assert_problem(ask(client, job, png(GREY), calibrated="true"), 410, "artifact_damaged")


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_where_test_images_cannot_be_distinguished_one_look_is_counted_and_predictions_continue(client, world, how):
    job = world.trained(calibrated=False, test="never")
    world.export(job)
    blobs, sha256 = world.worker.blobs, compute_content_address(world.digits)
    whole = damage(blobs, f"datasets/{sha256}/splits.npz", how)
    try:
        for _ in range(2):
            train_image = world.digits.images[world.digits.splits["train"][0], ..., 0]
            assert ask(client, job, png(train_image)).status_code == 200
            assert world.test_looks(job) == 1
    finally:
        blobs.put(f"datasets/{sha256}/splits.npz", whole)


def test_only_so_many_requests_of_one_owner_wait_for_exports(client, world, monkeypatch):
    monkeypatch.setattr(predict.cache, "MAX_WAITING_EACH", 1)
    job = world.trained(calibrated=False)
    with ThreadPoolExecutor() as threads:
        both = [threads.submit(ask, client, job, png(GREY), wait=60) for _ in range(2)]
        refused = next(as_completed(both, timeout=30))
        assert_problem(refused.result(), 409, "not_ready")
        world.export(job, is_ordered=True)
        [waited] = {*both} - {refused}
        assert waited.result().status_code == 200


def test_decoding_ends_soon_after_the_client_has_left(client, world, monkeypatch, log_lines):
    monkeypatch.setattr(api.disconnects, "WATCH_AFTER_S", 0.01)
    decode, decoded, begun = predict.images._read_image, [], threading.Event()

    def slowly(file: SentFile, *more: object) -> np.ndarray:
        decoded.append(file)
        begun.set()
        time.sleep(0.05)
        return decode(file, *more)

    monkeypatch.setattr(predict.images, "_read_image", slowly)
    files = [("images", (f"{number}.png", png(GREY))) for number in range(500)]
    request = client.build_request("POST", f"/v1/jobs/{world.job}/predict", files=files)
    head = [f"POST {request.url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with socket.create_connection((request.url.host, request.url.port)) as leaving:
        leaving.sendall("\r\n".join([*head, "", ""]).encode() + request.read())
        assert begun.wait(60)
    assert until(lambda: '"status": 499' in log_lines.getvalue(), "the end of the request")
    assert 0 < len(decoded) < 400


def test_metrics_tell_of_requests_images_and_models(client, world):
    def said() -> dict[str, float]:
        text = httpx2.get(f"{world.url}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {"_".join((sample.name, *sample.labels.values())): sample.value for sample in samples}

    asked = said().get("heldout_predict_seconds_count", 0)
    ask(client, world.job, png(GREY))
    until(lambda: said().get("heldout_predict_seconds_count", 0) > asked, "the count")
    before = said()
    ask(client, world.job, npy(world.digits.images[:7]))
    ask(client, world.job, b"no image")
    # A request is counted after its answer is sent.
    count = "heldout_predict_seconds_count"
    until(lambda: said()[count] >= before[count] + 2, "the count")
    after = said()
    changed = {name: value - before.get(name, 0) for name, value in after.items() if name.startswith("heldout_predict")}
    assert changed["heldout_predict_requests_total_2xx"] == changed["heldout_predict_requests_total_4xx"] == 1
    assert (changed["heldout_predict_images_total"], changed["heldout_predict_seconds_count"]) == (7, 2)
    assert 1 <= after["heldout_predict_models"] <= after["heldout_predict_loads_total"]
    assert after["heldout_predict_models_bytes"] > len(world.file)


def test_a_test_image_counts_in_the_ledger_once_and_other_images_do_not(client, world):
    def looks() -> int:
        return world.test_looks(world.unseen)

    digits = world.digits
    assert ask(client, world.unseen, npy(digits.images[digits.splits["train"][:50]])).status_code == 200
    assert looks() == 0
    for _ in range(2):
        test_image = digits.images[digits.splits["test"][3], ..., 0]
        assert ask(client, world.unseen, png(test_image)).status_code == 200
        assert looks() == 1
