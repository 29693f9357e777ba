"""Jobs, datasets and studies as client objects, against the real API."""

import asyncio
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from heldout import ApiProblem, AsyncClient, Client, errors
from heldout.client.client import RESOURCES
from heldout.client.failures import make_problem
from heldout.client.handles.jobs import JobFailed
from tests.heldout.served import FIGURES, SPEC

OVERFITTED = {
    "loss": [1, 0.5, 0.2, 0.1, 0.05, 0.02],
    "val_loss": [1, 0.6, 0.5, 0.6, 0.8, 1.0],
    "accuracy": [0.5, 0.7, 0.9, 0.95, 0.99, 1.0],
    "val_accuracy": [0.5, 0.7, 0.75, 0.7, 0.7, 0.7],
}


def work_on(service, job_id):
    """Train two epochs, as a worker would."""
    held = service.begin(job_id)
    for epoch in (1, 2):
        service.measure(held, epoch)
    service.succeed(held)


def test_a_job_is_followed_diagnosed_plotted_and_retried(service, client, tmp_path):
    job = client.train(SPEC | {"name": "<script>&"})
    worker = threading.Thread(target=work_on, args=(service, job.id))
    worker.start()
    assert [epoch.epoch for epoch in job.follow()] == [1, 2]
    worker.join()
    assert (job.wait().status, job.status) == ("succeeded", "succeeded")
    frame = job.metrics().to_pandas()
    assert list(frame.index) == [1, 2]
    assert list(frame["validation_loss"]) == [FIGURES["validation_loss"]] * 2
    assert job.diagnosis() == client.jobs.diagnosis(job.id)
    for shown in (job._repr_html_(), job.plot().svg, job.plot("gap").svg, job.diagnosis()._repr_html_()):
        assert "<script>" not in shown
        ET.fromstring(shown)
    for name in ("a.svg", "a.html", "a.png"):
        job.plot("gap").save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "training" in str(job.plot())
    assert job.try_remedy("dropout").view.retry_of == job.id


def test_a_job_can_be_followed_with_async(service, client):
    async def follow():
        async with AsyncClient(service.url, service.key) as afar:
            job = await afar.train(SPEC)
            worker = threading.Thread(target=work_on, args=(service, job.id))
            worker.start()
            epochs = [epoch.epoch async for epoch in job.follow()]
            worker.join()
            return job, epochs, await job.metrics(), [event.type async for event in job.events()]

    job, epochs, metrics, events = asyncio.run(follow())
    assert (job.status, epochs, metrics) == ("succeeded", [1, 2], client.jobs.metrics(job.id))
    assert events == [event.type for event in client.jobs.events(job.id)]


def test_waiting_for_a_failed_job_raises_the_reason(service, client):
    job = client.train(SPEC)
    service.fail(service.begin(job.id))
    with pytest.raises(JobFailed, match=r"diverged: The loss is not finite\."):
        job.wait()
    assert job.wait(check=False).status == "failed"


def test_a_folder_is_pushed_and_a_missing_folder_leaves_no_dataset(client, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"no picture")
    sent = client.datasets.push(str(tmp_path), name="cats", wait=False)
    assert (sent.status, client.datasets.get("cats@1").id) == ("checking", sent.id)
    assert {dataset.name for dataset in client.datasets.list()} == {"digits", "cats"}
    with pytest.raises(FileNotFoundError):
        client.datasets.push(tmp_path / "none")


def test_pushing_the_content_of_an_existing_version_ends_with_that_version(service, client, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"a picture")
    first = client.datasets.push(tmp_path, name="cats", wait=False)
    service.accept(service.claim_when_there_is_one())
    again = client.datasets.push(tmp_path, name="cats", wait=False)
    assert again.id != first.id
    service.accept(service.claim_when_there_is_one(), content_of=first.id)
    assert again.wait().id == first.id
    assert (again.status, again.view.version) == ("ready", 1)


def test_histories_of_keras_pandas_and_numpy_are_accepted(client):
    history = SimpleNamespace(history={name: np.asarray(curve, np.float32) for name, curve in OVERFITTED.items()})
    expected = client.diagnoses.create(OVERFITTED)
    assert expected.verdict == "overfitting"
    assert client.diagnoses.create(pd.DataFrame(OVERFITTED)) == expected
    assert client.diagnoses.create(history).verdict == "overfitting"
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    answers = {"labels": probabilities.argmax(1), "probabilities": probabilities}
    found = client.diagnoses.create_from_predictions({"train": answers, "test": answers})
    assert found.gap.test.accuracy == 1


def test_a_problem_has_the_class_of_its_code():
    defined = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in defined if errors.HeldoutError in kind.__mro__[1:]]
    by_code = {(kind.code, kind.status): [] for kind in kinds}
    for kind in kinds:
        by_code[kind.code, kind.status].append(kind)
    assert len(by_code) > 45
    for (code, status), alike in by_code.items():
        raised = make_problem(code, status, "Title", "Detail.")
        assert isinstance(raised, ApiProblem)
        # If several classes share a code, the code does not tell which; any of them will do.
        assert any(isinstance(raised, kind) for kind in alike), code
    assert isinstance(make_problem("job_not_found", 404, "", ""), errors.JobNotFound)
    assert isinstance(make_problem("not_ready", 409, "", ""), errors.NotReady)
    assert type(make_problem("of_a_newer_release", 409, "", "")) is ApiProblem


def test_importing_the_client_is_fast_and_loads_no_server_packages():
    code = (
        "import sys, time; begun = time.process_time(); import heldout; heldout.Client, heldout.AsyncClient; "
        "print(time.process_time() - begun, *(sys.modules.keys() & {'tensorflow', 'keras', 'sqlalchemy', 'fastapi', "
        "'starlette', 'celery', 'numpy', 'pandas', 'models', 'api', 'pydantic_settings'}))"
    )
    for _ in range(5):  # the machine may be busy
        imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, *names = imported.stdout.split()
        assert names == []
        if float(seconds) < 0.15:
            return
    raise AssertionError("every import took longer than 0.15 s of processor time")


def test_the_client_can_be_imported_where_no_signal_kills_a_process():
    """Windows has no SIGKILL."""
    code = "import signal; del signal.SIGKILL; import heldout.cli.running.runner, heldout.cli.running.study"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_arguments_a_client_uses_the_service_of_the_command_line(service, tmp_path, monkeypatch):
    monkeypatch.setenv("HELDOUT_URL", service.url)
    monkeypatch.setenv("HELDOUT_API_KEY", service.key)
    with Client() as client:
        assert client.account.whoami().owner == "me"
    with pytest.raises(Exception, match="HELDOUT_API_KEY"):
        Client("https://elsewhere.example")  # the key belongs to another service


# --- resources and handles -------------------------------------------------------------------------


def test_created_resources_are_found_as_handles_of_the_same_kind(client):
    made = {
        "jobs": client.jobs.create(SPEC),
        "datasets": client.datasets.create({"name": "pets"}),
        "models": client.models.create([b"no model"], name="own"),
        "webhooks": client.webhooks.create("https://93.184.215.14/hook", ["job.succeeded"]),
    }
    made["studies"] = client.studies.create({"spec": SPEC, "remedies": ["dropout"], "seeds": 2})
    for resource, handle in made.items():
        found = getattr(client, resource).get(handle.id)
        assert (type(found), found.id) == (type(handle), handle.id)
        listed = [other for other in getattr(client, resource).list() if other.id == handle.id]
        assert [type(other) for other in listed] == [type(handle)], resource
    assert made["webhooks"].secret.startswith("whsec_")
    assert not hasattr(client.webhooks.get(made["webhooks"].id), "secret")
    key = client.keys.create(scopes=["read"])
    assert key.key.startswith("ho_")
    assert key.id in [listed_key.id for listed_key in client.keys.list()]
    key.delete()
    assert {listed_key.id: listed_key.revoked_at is None for listed_key in client.keys.list()}[key.id] is False


def test_a_handle_has_the_last_received_fields_and_is_updated_by_its_methods(client):
    job = client.train(SPEC | {"name": "first"})
    assert (job.name, job.spec.training.epochs, job.progress.epoch) == ("first", SPEC["training"]["epochs"], 0)
    with pytest.raises(AttributeError, match="staus"):
        job.staus  # noqa: B018
    assert job.update(name="second") is job
    assert job.name == "second"
    client.jobs.cancel(job.id)
    assert job.status == "queued"
    assert job.refresh() is job
    assert job.status == "cancelled"
    again = job.retry()
    assert (again.retry_of, again.id != job.id, job.status) == (job.id, True, "cancelled")
    job.delete()
    with pytest.raises(errors.JobNotFound):
        job.refresh()


def test_an_async_client_has_the_same_resources(service, client):
    async def ask():
        async with AsyncClient(service.url, service.key) as afar:
            for name in RESOURCES:
                assert (getattr(afar, name).is_blocking, getattr(client, name).is_blocking) == (False, True)

    asyncio.run(ask())
    for name in ("submit", "get", "mend_dataset", "order_study"):
        assert not hasattr(client, name)


def test_a_diagnosis_prints_its_headline_and_summary(client):
    found = client.diagnoses.create(OVERFITTED)
    assert str(found) == f"{found.headline}\n{found.summary}"
    kept = client.diagnoses.keep(found)
    assert str(client.diagnoses.get(kept.id)) == str(found)
    assert kept in list(client.diagnoses.list())


def test_an_argument_that_is_neither_a_spec_nor_a_model_is_refused(client):
    class Other:
        def fit(self): ...

    for given in (Other(), "overfit"):
        with pytest.raises(TypeError, match=rf"Received {type(given).__name__}; expected a spec .* or a keras\.Model"):
            client.train(given)
