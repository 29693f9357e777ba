"""`GET /v1/studies/{id}/report` combines the study, its curves and its job's gap, in three forms."""

import pytest
from sqlalchemy import update

from heldout.stored.gap import StoredGap, Tally
from heldout.views.study_report import StudyReportView
from models.tables import ArtifactRow
from tests.api.support import assert_problem, sqlite_only, submit

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
GAP = StoredGap(
    kept_epoch=2,
    epochs=2,
    train=Tally(count=3600, correct=3590, loss=0.05, loss_variance=0.1),
    validation=Tally(count=400, correct=360, loss=0.4, loss_variance=0.1),
    test=Tally(count=1000, correct=880, loss=0.5, loss_variance=0.1),
)


@pytest.fixture
def study(client, worker, spec) -> dict:
    """Return a running study of one remedy with two seeds, whose first training has finished one epoch."""
    job = submit(client, {**spec, "name": "<b>bold</b>"})
    held = worker.claim()
    worker.begin(held, job["spec"])
    worker.epoch(held, 1)
    worker.succeed(held, gap=GAP)
    body = {"job": job["id"], "remedies": ["dropout"], "seeds": 2, "splits": "fixed"}
    answer = client.post("/v1/studies", json=body)
    assert answer.status_code == 201, answer.text
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{held.job_id}").json()["spec"])
    worker.epoch(held, 1, validation_accuracy=0.625)
    return client.get(f"/v1/studies/{answer.json()['id']}").json()


@sqlite_only
def test_a_report_is_available_in_three_forms(client, stranger, study):
    path = f"/v1/studies/{study['id']}/report"
    as_json = client.get(path)
    report = StudyReportView.model_validate_json(as_json.content)
    assert as_json.headers["vary"] == "Accept"
    assert as_json.json()["study"] == study
    curves = [point for arm in report.arms for point in arm.curve]
    assert [(point.epoch, point.trainings, point.validation_accuracy.mean) for point in curves] == [(1, 1, 0.625)]
    [gap] = as_json.json()["gaps"]
    assert gap["job"] == study["job"]
    diagnosis = client.get(f"/v1/jobs/{study['job']}/diagnosis").json()
    assert gap["gap"] == diagnosis["gap"]
    assert as_json.json()["figures"] == [{"arm": "base", "trainings": 1, "figures": diagnosis["figures"]}]

    page = client.get(path, headers={"Accept": BROWSER})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.text.startswith("<!DOCTYPE html>")
    assert report.answer in page.text
    assert "<b>" not in page.text

    text = client.get(path, headers={"Accept": "text/markdown"})
    assert "is missing" not in text.text
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert f"## {report.study.headline}" in text.text
    blocks = client.get(path, headers={"Accept": "application/vnd.heldout.document+json"}).json()["blocks"]
    assert report.study.headline in [block.get("text") for block in blocks]
    assert {"facts", "heading", "items", "listing"} <= {block["kind"] for block in blocks}
    assert "| base | 90.0% | 90.0% | 90.0% | 0.0 points from training to test |" in text.text
    assert report.answer in text.text
    assert_problem(stranger.get(path), 404, "study_not_found")
    assert_problem(client.get("/v1/studies/std_none/report"), 404, "study_not_found")


@sqlite_only
def test_an_unreadable_gap_is_left_out_of_the_report(client, worker, study):
    worker.blobs.put(f"jobs/{study['job']}/1/gap.json", b'{"format": 99}')
    path = f"/v1/studies/{study['id']}/report"
    report = client.get(path)
    assert report.status_code == 200
    assert (report.json()["gaps"], "is damaged" in report.json()["gaps_missing"]) == ([], True)
    with worker.database.write() as session:  # as an earlier release stored it
        session.execute(update(ArtifactRow).values(sha256=None))
    assert "version 99" in client.get(path).json()["gaps_missing"]
    assert "This part is missing" in client.get(path, headers={"Accept": "text/markdown"}).text
