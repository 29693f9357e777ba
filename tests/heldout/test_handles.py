"""Jobs, datasets and studies as objects of a client, against the real API."""

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


def test_a_job_is_followed_judged_drawn_and_tried_again(service, client, tmp_path):
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


def test_a_job_is_awaited_likewise(service, client):
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


def test_a_failed_job_that_is_waited_for_says_why(service, client):
    job = client.train(SPEC)
    service.fail(service.begin(job.id))
    with pytest.raises(JobFailed, match=r"diverged: The loss is not finite\."):
        job.wait()
    assert job.wait(check=False).status == "failed"


def test_a_folder_is_pushed_and_withdrawn_where_it_cannot_be_read(client, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"no picture")
    sent = client.datasets.push(str(tmp_path), name="cats", wait=False)
    assert (sent.status, client.datasets.get("cats@1").id) == ("checking", sent.id)
    assert {dataset.name for dataset in client.datasets.list()} == {"digits", "cats"}
    with pytest.raises(FileNotFoundError):
        client.datasets.push(tmp_path / "none")


def test_a_push_of_what_a_version_has_already_ends_with_that_version(service, client, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"a picture")
    first = client.datasets.push(tmp_path, name="cats", wait=False)
    service.accept(service.claim_when_there_is_one())
    again = client.datasets.push(tmp_path, name="cats", wait=False)
    assert again.id != first.id
    service.accept(service.claim_when_there_is_one(), content_of=first.id)
    assert again.wait().id == first.id
    assert (again.status, again.view.version) == ("ready", 1)


def test_a_history_may_come_as_keras_pandas_and_numpy_hold_it(client):
    history = SimpleNamespace(history={name: np.asarray(curve, np.float32) for name, curve in OVERFITTED.items()})
    expected = client.diagnoses.create(OVERFITTED)
    assert expected.verdict == "overfitting"
    assert client.diagnoses.create(pd.DataFrame(OVERFITTED)) == expected
    assert client.diagnoses.create(history).verdict == "overfitting"
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    answers = {"labels": probabilities.argmax(1), "probabilities": probabilities}
    found = client.diagnoses.create_from_predictions({"train": answers, "test": answers})
    assert found.gap.test.accuracy == 1


def test_a_problem_is_of_the_class_of_its_code():
    defined = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in defined if errors.HeldoutError in kind.__mro__[1:]]
    by_code = {(kind.code, kind.status): [] for kind in kinds}
    for kind in kinds:
        by_code[kind.code, kind.status].append(kind)
    assert len(by_code) > 45
    for (code, status), alike in by_code.items():
        raised = make_problem(code, status, "Title", "Detail.")
        assert isinstance(raised, ApiProblem)
        # Where several share a code, the service says no more than the code: one of them stands for all.
        assert any(isinstance(raised, kind) for kind in alike), code
    assert isinstance(make_problem("job_not_found", 404, "", ""), errors.JobNotFound)
    assert isinstance(make_problem("not_ready", 409, "", ""), errors.NotReady)
    assert type(make_problem("of_a_newer_release", 409, "", "")) is ApiProblem


def test_a_client_loads_soon_and_without_what_a_server_needs():
    code = (
        "import sys, time; begun = time.process_time(); import heldout; heldout.Client, heldout.AsyncClient; "
        "print(time.process_time() - begun, *(sys.modules.keys() & {'tensorflow', 'keras', 'sqlalchemy', 'fastapi', "
        "'starlette', 'celery', 'numpy', 'pandas', 'models', 'api'}))"
    )
    # The fastest of a few: the machine may be busy.
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    loaded = [one.stdout.split() for one in said]
    assert [names for _, *names in loaded] == [[]] * 3
    assert min(float(seconds) for seconds, *_ in loaded) < 0.6


def test_without_arguments_a_client_asks_the_service_that_the_command_line_asks(service, tmp_path, monkeypatch):
    monkeypatch.setenv("HELDOUT_URL", service.url)
    monkeypatch.setenv("HELDOUT_API_KEY", service.key)
    with Client() as client:
        assert client.account.whoami().owner == "me"
    with pytest.raises(Exception, match="HELDOUT_API_KEY"):
        Client("https://elsewhere.example")  # the key is another service's, and stays here
