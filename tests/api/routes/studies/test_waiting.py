"""Studies whose data must be fixed first: choices in the refusal, and studies that wait for their data."""

import pytest
from sqlalchemy import select, update

from heldout.lifecycle.resources import DatasetStatus, RelationsStatus
from heldout.service.settings import Settings
from heldout.stored.gap import PairedTally, PixelsUndone, Tally
from models.reconcile import Reconciler
from models.tables import DatasetRow
from tests.api.routes.test_damaged_files import dataset  # noqa: F401 - a fixture
from tests.api.support import FINAL, sqlite_only, submit, with_field
from tests.heldout.served import GAP

pytestmark = sqlite_only


def make_inverted(tally: Tally) -> dict:
    """Return the parts of a gap that show inverted test images."""
    pixels = PixelsUndone(
        choices=("inversion", "inversion"),
        parameters=({}, {}),
        tally=tally,
        change=PairedTally(count=300, gained=225, lost=0, loss=-1.84, loss_variance=0.1),
    )
    wrong = Tally(count=300, correct=60, loss=2.0, loss_variance=0.1)
    return {"test": wrong, "pixels": pixels}


@pytest.fixture
def order(client, worker, spec) -> dict:
    """Return a request for a study of a job whose data have a certain fault."""
    job = submit(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(held, 1)
    worker.succeed(held, FINAL, gap=GAP.model_copy(update=make_inverted(GAP.test)))
    return {"job": job, "remedies": ["dropout"], "splits": "fixed", "seeds": 2}


def reconcile(worker) -> None:
    Reconciler(worker.database, Settings(), blobs=worker.blobs).run_once()


def finish_version(worker, version: str, status: DatasetStatus) -> None:
    """Finish the version as a worker does, with the images of its source."""
    with worker.database.write() as session:
        made = session.get_one(DatasetRow, version)
        base = session.get_one(DatasetRow, made.derived_from["dataset"]["id"])
        for name in ("sha256", "splits", "classes", "shape", "value_range"):
            setattr(made, name, getattr(base, name))
        made.status = status


def get_choices(client, order: dict) -> dict:
    answer = client.post("/v1/studies", json=order)
    assert (answer.status_code, answer.json()["code"]) == (409, "data_first"), answer.text
    return {choice["name"]: choice for choice in answer.json()["choices"]}


def test_a_refusal_offers_three_choices(client, order):
    offered = get_choices(client, order)
    assert [choice["title"] for choice in offered.values()] == [
        "Show the images",
        "Fix the data and continue",
        "Compare on the data as they are",
    ]
    shown = offered["show_images"]["request"]
    assert (shown["method"], shown["path"].partition("?")[0].rsplit("/", 1)[1]) == ("GET", "images")
    for name in ("fix", "as_they_are"):
        assert offered[name]["request"] == {"method": "POST", "path": "/v1/studies", "body": order | {"data": name}}


def test_a_study_on_unfixed_data_starts_at_once(client, order):
    asked = get_choices(client, order)["as_they_are"]["request"]
    assert client.post("/v1/studies?dry_run=true", json=asked["body"]).status_code == 200
    study = client.post(asked["path"], json=asked["body"]).json()
    assert (study["status"], study["waits_for"], study["progress"]["jobs"]) == ("running", None, 4)
    assert study["job"] == order["job"]
    report = client.get(f"/v1/studies/{study['id']}/report").json()
    assert report["commands"][-1]["cli"].endswith(" --anyway")
    assert [gap["arm"] for gap in report["gaps"]] == ["base"]
    assert client.delete(f"/v1/jobs/{order['job']}").status_code == 204
    report = client.get(f"/v1/studies/{study['id']}/report").json()
    assert report["commands"][-1]["cli"] is None, "the command would name a job that is gone"


def test_a_study_that_fixes_the_data_starts_once_the_version_is_ready(client, worker, order):
    asked = get_choices(client, order)["fix"]["request"]["body"]
    assert client.post("/v1/studies?dry_run=true", json=asked).json()["jobs"] == 4
    answer = client.post("/v1/studies", json=asked)
    assert answer.status_code == 201, answer.text
    study = answer.json()
    version = study["dataset"]
    assert (study["status"], study["started_at"], version["name"]) == ("running", None, "mnist5k")
    assert study["waits_for"] == f"the fixed version mnist5k@{version['version']} is being made"
    assert client.get(f"/v1/datasets/{version['id']}").json()["status"] == "checking"
    assert client.get(f"/v1/studies/{study['id']}/report").status_code == 200
    reconcile(worker)
    assert client.get(f"/v1/studies/{study['id']}").json()["progress"]["jobs"] == 0

    finish_version(worker, version["id"], DatasetStatus.READY)
    reconcile(worker)
    started = client.get(f"/v1/studies/{study['id']}").json()
    assert (started["waits_for"], started["dataset"], started["job"]) == (None, version, order["job"])
    assert (started["progress"]["jobs"], started["remedies"]) == (4, ["dropout"])
    jobs = client.get(f"/v1/jobs?study={study['id']}").json()["data"]
    assert {job["dataset"]["id"] for job in jobs} == {version["id"]}
    reconcile(worker)
    assert len(client.get(f"/v1/jobs?study={study['id']}").json()["data"]) == 4
    types = [event["type"] for event in client.get(f"/v1/studies/{study['id']}/events").json()["data"]]
    assert types == ["study.waiting", "study.started"]
    report = client.get(f"/v1/studies/{study['id']}/report").json()
    assert (started["data"], report["commands"][-1]["cli"].endswith(" --fix")) == ("fix", True)
    assert report["gaps"] == []  # the job's gap belongs to the data with the fault


def test_a_study_fails_with_its_rejected_version_and_can_be_cancelled_while_waiting(client, worker, order):
    fails, ends = (client.post("/v1/studies", json=order | {"data": "fix"}).json() for _ in range(2))
    assert client.post(f"/v1/studies/{ends['id']}/cancel").status_code in {200, 202}
    finish_version(worker, fails["dataset"]["id"], DatasetStatus.REJECTED)
    reconcile(worker)
    failed, cancelled = (client.get(f"/v1/studies/{study['id']}").json() for study in (fails, ends))
    assert (failed["status"], failed["error"]["code"], failed["waits_for"]) == ("failed", "dataset_not_ready", None)
    assert (cancelled["status"], cancelled["waits_for"]) == ("cancelled", None)
    assert client.get(f"/v1/studies/{fails['id']}/report").status_code == 200
    assert client.delete(f"/v1/studies/{fails['id']}").status_code == 204


def test_a_study_waits_for_the_search_for_copies(client, worker, spec, dataset):  # noqa: F811
    def know(status: RelationsStatus) -> None:
        with worker.database.write() as session:
            session.execute(
                update(DatasetRow).where(DatasetRow.id == dataset["dataset"]).values(relations_status=status)
            )

    know(RelationsStatus.QUEUED)
    with worker.database.read() as session:
        name = session.scalar(select(DatasetRow.name).where(DatasetRow.id == dataset["dataset"]))
    body = {"spec": with_field(spec, "dataset", name), "remedies": ["dropout"], "seeds": 2}
    for validation in (None, {"folds": 3}):
        for splits in ("auto", "fixed") if validation else ("auto",):
            asked = body | {"spec": body["spec"] | {"validation": validation}, "splits": splits}
            answer = client.post("/v1/studies?dry_run=true", json=asked)
            assert answer.status_code == 200, answer.text
            plan = answer.json()
            assert plan["waits_for"] == f"the search for copies in {name}@1 has not ended"
            assert (plan["splits"], plan["jobs"]) == ("fixed" if splits == "fixed" else "resampled", 4)
    study = client.post("/v1/studies", json=body).json()
    assert (study["status"], study["splits"], study["progress"]["jobs"]) == ("running", "resampled", 0)
    assert study["waits_for"] == f"the search for copies in {name}@1 has not ended"
    reconcile(worker)
    assert client.get(f"/v1/studies/{study['id']}").json()["waits_for"] is not None
    know(RelationsStatus.STORED)
    reconcile(worker)
    started = client.get(f"/v1/studies/{study['id']}").json()
    assert (started["status"], started["waits_for"], started["error"]) == ("running", None, None)
    assert started["progress"]["jobs"] == 4
