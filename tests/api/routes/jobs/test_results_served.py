"""Results of a job over HTTP: metrics, events, queue, model and predictions."""

import base64
import hashlib
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from pydantic import TypeAdapter
from sqlalchemy import update

from api.http.forms import BLOCKS
from heldout.documents.blocks import Document
from heldout.documents.job import lay_out_job
from heldout.documents.terminal import render_terminal
from heldout.lifecycle.job import JobStatus
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from models.tables import ArtifactRow
from tests.api.support import EPOCH, FINAL, PREDICTIONS, assert_problem, sqlite_only, submit, with_field

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

NAMES = [
    *("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "fit_loss", "fit_accuracy"),
    *("learning_rate", "seconds", "evaluation_seconds", "images_per_second"),
]


def test_metrics_grow_with_the_epochs_and_end_with_the_final_figures(client, worker, spec):
    job = submit(client, spec)["id"]
    metrics = lambda: client.get(f"/v1/jobs/{job}/metrics").json()  # noqa: E731
    assert metrics() == {"object": "metrics", "epochs": [], "final": None}
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(held, 1)
    assert metrics() == {"object": "metrics", "epochs": [{"epoch": 1, **EPOCH}], "final": None}
    worker.epoch(held, 2, train_loss=0.25)
    worker.succeed(held)
    ended = metrics()
    assert [list(epoch) for epoch in ended["epochs"]] == [NAMES, NAMES]
    assert [epoch["train_loss"] for epoch in ended["epochs"]] == [0.5, 0.25]
    assert ended["final"] == FINAL
    shown = client.get(f"/v1/jobs/{job}").json()
    assert (shown["status"], shown["stop_reason"], shown["progress"]["epoch"]) == ("succeeded", "completed", 2)


def test_test_figures_of_every_epoch_are_shown_if_requested(client, worker, spec):
    job = submit(client, with_field(spec, "evaluation.test", "every_epoch"))["id"]
    worker.epoch(worker.claim(), 1, test_loss=0.75, test_accuracy=None)
    [epoch] = client.get(f"/v1/jobs/{job}/metrics").json()["epochs"]
    assert list(epoch) == [*NAMES, "test_loss", "test_accuracy"]
    assert (epoch["test_loss"], epoch["test_accuracy"]) == (0.75, None)


def test_the_final_test_figures_are_null_for_a_job_without_test(client, worker, spec):
    job = submit(client, with_field(spec, "evaluation.test", "never"))["id"]
    gaps = {"validation": {"accuracy": 0.0, "loss": 0.0}, "test": None}
    worker.succeed(worker.claim(), {**FINAL, "test": None, "gap": gaps})
    assert client.get(f"/v1/jobs/{job}/metrics").json()["final"] == {**FINAL, "test": None, "gap": gaps}


def test_non_finite_figures_are_null(client, worker, spec):
    job = submit(client, spec)["id"]
    held = worker.claim()
    worker.epoch(held, 1, train_loss=float("nan"), fit_loss=float("inf"))
    answer = client.get(f"/v1/jobs/{job}/metrics")
    [epoch] = answer.json()["epochs"]
    assert (epoch["train_loss"], epoch["fit_loss"]) == (None, None)
    assert "NaN" not in answer.text
    assert worker.fail(held) is JobStatus.FAILED
    shown = client.get(f"/v1/jobs/{job}").json()
    assert shown["error"] == {"code": "diverged", "detail": "The loss is not finite."}
    assert shown["failures"] == 1


def test_epochs_repeated_by_a_later_attempt_are_shown_once(client, worker, spec):
    job = submit(client, spec)["id"]
    first = worker.claim()
    for epoch in (1, 2):
        worker.epoch(first, epoch, train_loss=9.0)
    client.post(f"/v1/jobs/{job}/pause")
    worker.stop_as_requested(first)
    client.post(f"/v1/jobs/{job}/resume")
    second = worker.claim()
    worker.begin(second, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(second, 1, train_loss=1.0)
    epochs = client.get(f"/v1/jobs/{job}/metrics").json()["epochs"]
    assert [(epoch["epoch"], epoch["train_loss"]) for epoch in epochs] == [(1, 1.0)]


def test_events_are_listed_oldest_first_in_pages(client, worker, spec):
    job = submit(client, spec)["id"]
    client.post(f"/v1/jobs/{job}/pause")
    client.post(f"/v1/jobs/{job}/resume")
    worker.claim()
    client.post(f"/v1/jobs/{job}/cancel")
    every = client.get(f"/v1/jobs/{job}/events").json()
    assert (every["object"], every["has_more"], every["next"]) == ("list", False, None)
    assert [event["type"] for event in every["data"]] == [
        *("job.queued", "job.paused", "job.resumed", "job.started", "job.cancelling")
    ]
    assert [event["id"] for event in every["data"]] == [1, 2, 3, 4, 5]
    assert list(every["data"][0]) == ["id", "object", "type", "level", "message", "data", "created_at"]
    seen, after = [], 0
    while after is not None:
        page = client.get(f"/v1/jobs/{job}/events?limit=2&after={after}").json()
        seen += page["data"]
        after = page["next"]
    assert seen == every["data"]
    assert client.get(f"/v1/jobs/{job}/events?after=2147483647").json()["data"] == []


def test_invalid_event_numbers_are_refused(client, spec):
    job = submit(client, spec)["id"]
    for after in ["x", "-1", "1.5", "2147483648", "9" * 5000, "", "job_1", "٣", "%00"]:
        answer = client.get(f"/v1/jobs/{job}/events?after={after}")
        assert_problem(answer, 400, "invalid_parameter" if after == "%00" else "invalid_cursor")


def test_the_queue_shows_position_and_reason(client, worker, spec):
    first, gpu, urgent = (
        submit(client, body)["id"]
        for body in (spec, with_field(spec, "resources.device", "gpu"), with_field(spec, "priority", 10))
    )
    queue = lambda job: client.get(f"/v1/jobs/{job}/queue").json()  # noqa: E731
    expected = {"object": "queue", "position": 1, "ahead": 0, "waiting_for": "worker", "estimated_start_s": None}
    assert queue(urgent) == expected
    assert queue(first) == {**expected, "position": 2, "ahead": 1}
    assert queue(gpu) == {**expected, "position": 3, "ahead": 2, "waiting_for": "gpu"}
    held = worker.claim()
    assert held.job_id == urgent
    assert queue(urgent) == {**expected, "position": None, "ahead": None, "waiting_for": None}
    assert queue(first)["position"] == 1
    worker.fail(held, "worker_lost")
    assert queue(urgent)["waiting_for"] == "backoff"


@pytest.mark.parametrize("file", ["model", "predictions"])
def test_files_are_ready_only_after_the_job_succeeds(client, worker, spec, file):
    job = submit(client, spec | {"name": "Größe: small/2"})["id"]
    assert_problem(client.get(f"/v1/jobs/{job}/{file}"), 409, "not_ready")
    held = worker.claim()
    assert_problem(client.get(f"/v1/jobs/{job}/{file}"), 409, "not_ready")
    worker.succeed(held)
    answer = client.get(f"/v1/jobs/{job}/{file}")
    name, whole = {
        "model": ("-small-2.keras", b"keras" * 1_000_000),
        "predictions": ("-small-2-predictions.npz", PREDICTIONS),
    }[file]
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(whole).digest()
    assert answer.headers["content-length"] == str(len(whole))
    whole_name = f"filename*=UTF-8''Gr%C3%B6%C3%9Fe{name}"
    assert answer.headers["content-disposition"] == f'attachment; filename="Groe{name}"; {whole_name}'
    assert answer.headers["content-type"] == "application/octet-stream"
    digest = hashlib.sha256(whole)
    assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"


def test_predictions_are_available_as_csv(client, worker, spec, tmp_path):
    job = submit(client, spec)["id"]
    path = f"/v1/jobs/{job}/predictions?format=csv"
    assert_problem(client.get(path), 409, "not_ready")
    held = worker.claim()
    worker.succeed(held)
    worker.blobs.put(f"jobs/{job}/{held.attempt}/predictions.npz", b"no npz")
    assert_problem(client.get(path), 410, "artifact_damaged")
    with worker.database.write() as session:  # as an earlier release stored it
        session.execute(update(ArtifactRow).values(size_bytes=None, sha256=None))
    assert_problem(client.get(path), 410, "artifact_damaged")
    probabilities = np.full((1, 10), 0.1, np.float32)
    np.savez(
        tmp_path / "p.npz",
        test_indices=np.array([4]),
        test_labels=np.array([7], np.int32),
        test_probabilities=probabilities,
    )
    worker.blobs.put(f"jobs/{job}/{held.attempt}/predictions.npz", tmp_path / "p.npz")
    answer = client.get(path)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="overfit-predictions.csv"'
    heads = "split,index,file,label,answer,correct,probability," + ",".join(f"p_{digit}" for digit in range(10))
    assert answer.text == f"{heads}\ntest,4,,7,0,false,0.1,{','.join(['0.1'] * 10)}\n"
    assert_problem(client.get(f"/v1/jobs/{job}/predictions?format=xlsx"), 400, "invalid_parameter")


def test_a_file_of_an_earlier_release_is_served_without_a_digest(client, worker, spec):
    """Its row was made by a migration, which knew neither size nor digest."""
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    with worker.database.write() as session:
        session.execute(update(ArtifactRow).values(size_bytes=None, sha256=None))
    answer = client.get(f"/v1/jobs/{job}/model")
    assert (answer.status_code, answer.content) == (200, b"keras" * 1_000_000)
    assert answer.headers["content-length"] == "5000000"
    assert not {"etag", "repr-digest"} & set(answer.headers)


UNKNOWN = {
    "best": None,
    "most_accurate": None,
    "gap": None,
    "test_accuracy": None,
    "verdict": None,
    "headline": None,
}


def test_a_summary_appears_on_success_and_in_lists(client, worker, spec):
    job = submit(client, spec)
    assert job["summary"] == UNKNOWN
    held = worker.claim()
    worker.begin(held, job["spec"])
    for epoch, loss, accuracy in ((1, 0.9, 0.1), (2, 0.4, 0.6), (3, 0.6, 0.7)):
        worker.epoch(held, epoch, validation_loss=loss, validation_accuracy=accuracy)
    assert client.get(f"/v1/jobs/{job['id']}").json()["summary"] == UNKNOWN
    worker.succeed(held)
    shown = client.get(f"/v1/jobs/{job['id']}").json()
    diagnosis = client.get(f"/v1/jobs/{job['id']}/diagnosis").json()
    assert shown["summary"] == {
        "best": {"epoch": 2, "validation_loss": 0.4, "validation_accuracy": 0.6},
        "most_accurate": {"epoch": 3, "validation_loss": 0.6, "validation_accuracy": 0.7},
        "gap": FINAL["gap"],
        "test_accuracy": FINAL["test"]["accuracy"],
        "verdict": diagnosis["verdict"],
        "headline": diagnosis["headline"],
    }
    other = submit(client, spec)
    assert client.get("/v1/jobs").json()["data"] == [other, shown]


def test_a_diagnosis_is_laid_out_the_same_in_every_form(client, worker, spec):
    job = submit(client, {**with_field(spec, "training.epochs", 40), "name": "<b>bold</b>"})["id"]
    path = f"/v1/jobs/{job}/diagnosis"
    held = worker.claim()
    worker.epoch(held, 1, fit_accuracy=None)
    [_, early, *_] = client.get(path, headers={"Accept": BLOCKS}).json()["blocks"]
    assert early["text"] == "It is too early to judge this training."
    for epoch in range(2, 41):
        worker.epoch(held, epoch, train_loss=2 / epoch, validation_loss=0.5 + 0.02 * abs(epoch - 8))
    worker.succeed(held)
    plain = client.get(path)
    assert (plain.headers["content-type"], plain.headers["vary"]) == ("application/json", "Accept")
    view, shown = DiagnosisView.model_validate_json(plain.content), JobView(**client.get(f"/v1/jobs/{job}").json())
    document = lay_out_job(shown, view)
    blocks = client.get(path, headers={"Accept": BLOCKS})
    assert blocks.headers["content-type"] == BLOCKS
    offered = [block for block in blocks.json()["blocks"] if block.get("post") != f"/v1/jobs/{job}/proof"]
    assert offered == TypeAdapter(Document).dump_python(document, mode="json")["blocks"]
    assert {block["kind"] for block in blocks.json()["blocks"]} >= {"heading", "facts", "items", "action", "details"}

    page = client.get(path, headers={"Accept": "text/html"})
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<b>" not in page.text
    read = ElementTree.fromstring(page.text.partition("\n")[2])
    markdown = client.get(path, headers={"Accept": "text/markdown"}).text
    terminal = "\n".join(render_terminal(document.blocks))
    texts = [view.headline, view.summary, *(figure.line for figure in view.figures)]
    texts += [f"heldout train --from {job} --remedy ", f"heldout cure {job}"]
    for form in (" ".join(read.itertext()), re.sub(r"\\\\(.)", r"\\1", markdown), terminal):
        form = re.sub(r"\s+", " ", form)
        places = [form.index(re.sub(r"\s+", " ", text)) for text in texts]
        assert places == sorted(places)


def test_a_job_that_ended_before_there_were_summaries_shows_none(client, worker, spec):
    job = submit(client, spec)["id"]
    worker.fail(worker.claim())
    assert client.get(f"/v1/jobs/{job}").json()["summary"] == UNKNOWN


def test_a_job_that_ended_without_success_has_no_model(client, worker, spec):
    failed = submit(client, spec)["id"]
    worker.fail(worker.claim())
    assert_problem(client.get(f"/v1/jobs/{failed}/model"), 409, "no_model")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("model", "model_lost"),
        ("predictions", "predictions_lost"),
        ("predictions?format=csv", "predictions_lost"),
    ],
)
def test_files_lost_by_the_blob_store_are_reported_as_lost(client, worker, spec, path, code):
    """A client that was asked to retry would do so forever."""
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    worker.blobs.delete_all(f"jobs/{job}")
    answer = client.get(f"/v1/jobs/{job}/{path}")
    assert_problem(answer, 410, code)
    assert f"/v1/jobs/{job}/retry" in answer.json()["detail"]
    assert "retry-after" not in answer.headers
    assert client.get(f"/v1/jobs/{job}/metrics").json()["final"] is not None


def test_damaged_score_files_count_as_lost(client, worker, spec):
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    for name in ("evaluation", "gap"):
        worker.blobs.put(f"jobs/{job}/1/{name}.json", b'{"format": 1, "spl')
    assert_problem(client.get(f"/v1/jobs/{job}/confusion"), 409, "no_model")
    assert client.get(f"/v1/jobs/{job}/diagnosis").status_code == 200
