"""Clients generated from the OpenAPI document are complete, typed, and able to submit, poll and list."""

import importlib
import json
import re
import subprocess
import sys
from itertools import chain

import pytest
from pydantic import ValidationError

from heldout.access.webhooks import WEBHOOK_EVENTS
from tests.api.support import EXAMPLES, sqlite_only, submit

# openapi-python-client has no type for this response, so it is declared as bytes.
CONFIG = "content_type_overrides:\n  image/png: application/octet-stream\npost_hooks: []\n"


def generate(folder, module, *arguments):
    """Run a generator. Any warning that it prints fails the test."""
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output
    assert "warning" not in output.lower(), output
    assert "unable" not in output.lower(), output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yml").write_text(CONFIG)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def document(app, folder):
    document = app.openapi()
    (folder / "openapi.json").write_text(json.dumps(document))
    return document


@pytest.fixture
def generated(folder, document):
    """Generate a package with openapi-python-client, once for all tests."""
    if not (folder / "made").exists():
        paths = ("--path", "openapi.json", "--output-path", "made", "--config", "config.yml")
        generate(folder, "openapi_python_client", "generate", *paths, "--meta", "none")
    return importlib.import_module("made")


@pytest.fixture
def call(generated, service, key):
    """Return what calls an operation of the real service by tag and id through the generated client."""
    client = generated.AuthenticatedClient(base_url=str(service.base_url), token=key, raise_on_unexpected_status=True)

    def call(tag, operation, *arguments, **options):
        return importlib.import_module(f"made.api.{tag}.{operation}").sync(*arguments, client=client, **options)

    with client:
        yield call


def list_operations(document):
    return chain.from_iterable(path.values() for path in document["paths"].values())


@sqlite_only
def test_every_operation_has_a_short_and_unique_name(document):
    names = [operation["operationId"] for operation in list_operations(document)]
    assert {"submit_job", "get_job", "list_jobs", "create_dataset", "put_content", "make_webhook"} <= set(names)
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name)] == []


@sqlite_only
def test_the_generated_client_types_the_response_of_every_operation(document, generated):
    for operation in list_operations(document):
        [tag] = operation["tags"]
        made = importlib.import_module(f"made.api.{tag}.{operation['operationId']}")
        returned = str(made.sync_detailed.__annotations__["return"])
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            if status.startswith("2") and "$ref" in schema:
                assert f".{schema['$ref'].rpartition('/')[2]}" in returned, operation["operationId"]
        if "400" in operation["responses"]:
            assert ".Problem" in returned


@sqlite_only
def test_the_generated_client_submits_polls_and_lists(call, worker):
    from made.models import EstimateView, JobSpec, JobViewStatus

    spec = JobSpec.from_dict(json.loads((EXAMPLES / "overfit.json").read_text()))
    estimate = call("jobs", "submit_job", body=spec, dry_run=True)
    assert isinstance(estimate, EstimateView)
    job = call("jobs", "submit_job", body=spec, idempotency_key="once")
    assert call("jobs", "submit_job", body=spec, idempotency_key="once").id == job.id
    assert (job.status, job.parameters, job.spec.training.epochs) == (JobViewStatus.QUEUED, estimate.parameters, 10)
    assert job.spec.network.blocks[0].kernel_size == 3

    held = worker.claim()
    worker.begin(held, job.spec.to_dict())
    worker.epoch(held, 1)
    polled = call("jobs", "get_job", job.id, wait=10, if_none_match=f'"{job.version}"')
    assert (polled.status, polled.progress.epoch) == (JobViewStatus.RUNNING, 1)
    worker.succeed(held)
    ended = call("jobs", "get_job", job.id, wait=10)
    assert ended.status == JobViewStatus.SUCCEEDED
    assert ended.finished_at > ended.started_at

    call("jobs", "submit_job", body=spec)
    assert [job.id for job in call("jobs", "list_jobs", status=[JobViewStatus.SUCCEEDED]).data] == [job.id]
    page = call("jobs", "list_jobs", limit=1)
    assert (len(page.data), page.has_more) == (1, True)
    assert [entry.id for entry in call("jobs", "list_jobs", limit=1, after=page.next_).data] == [job.id]
    metrics = call("jobs", "get_metrics", job.id)
    assert (metrics.epochs[0].train_loss, metrics.final.test.accuracy) == (0.5, 0.9)
    assert next(event.type_ for event in call("jobs", "list_events", job.id).data) == "job.queued"
    assert len(call("jobs", "get_model", job.id).payload.read()) == 5_000_000


@sqlite_only
def test_the_generated_client_finds_jobs_by_their_metadata(call, spec):
    from made.models import JobSpec, ListJobsMetadata

    marked = call("jobs", "submit_job", body=JobSpec.from_dict(spec | {"metadata": {"team": "vision"}}))
    call("jobs", "submit_job", body=JobSpec.from_dict(spec))
    pair = ListJobsMetadata.from_dict({"metadata[team]": "vision"})
    assert [job.id for job in call("jobs", "list_jobs", metadata=pair).data] == [marked.id]


@sqlite_only
def test_the_generated_client_announces_a_dataset_and_sends_its_content(call):
    from io import BytesIO

    from made.models import DatasetSpec
    from made.types import File

    made = call("datasets", "create_dataset", body=DatasetSpec(name="pets"))
    assert (made.name, made.status.value) == ("pets", "uploading")
    sent = call("datasets", "put_content", made.id, body=File(payload=BytesIO(b"not looked at")))
    assert sent.status.value == "checking"


@sqlite_only
def test_every_operation_returns_refusals_as_the_same_class(call):
    from made.models import JobSpec, Problem

    missing = call("jobs", "get_job", "job_00000000000000000000000000")
    refused = call("jobs", "submit_job", body=JobSpec.from_dict({"dataset": "none", "network": {"blocks": []}}))
    assert (type(missing), missing.code) == (Problem, "job_not_found")
    assert (type(refused), refused.code) == (Problem, "invalid_spec")
    assert [error.pointer for error in refused.errors] == ["/network/blocks"]


@sqlite_only
def test_generated_pydantic_models_accept_and_refuse_what_the_api_does(folder, document, client, spec):
    arguments = ("--input", "openapi.json", "--input-file-type", "openapi", "--output", "models_made.py")
    generate(
        folder,
        "datamodel_code_generator",
        *arguments,
        *("--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"),
    )
    made = importlib.import_module("models_made")
    assert set(document["components"]["schemas"]) <= set(vars(made))
    job = submit(client, made.JobSpec.model_validate(spec).model_dump(mode="json", exclude_unset=True))
    assert made.JobView.model_validate(job).spec.training.epochs == 10
    assert made.JobPage.model_validate(client.get("/v1/jobs").json()).data[0].id == job["id"]
    assert made.Problem.model_validate(client.get("/v1/jobs/x").json()).code == "job_not_found"
    with pytest.raises(ValidationError, match="epochs"):
        made.JobSpec.model_validate(spec | {"training": {"epochs": 0}})


@sqlite_only
def test_the_document_lists_servers_and_webhook_messages(document):
    assert [server["url"] for server in document["servers"]] == ["/", "http://127.0.0.1:8000"]
    assert set(document["webhooks"]) == set(WEBHOOK_EVENTS)
    for event, path in document["webhooks"].items():
        assert path["post"]["operationId"] == f"on_{event.replace('.', '_')}"
        assert {parameter["name"] for parameter in path["post"]["parameters"]} == {
            *("webhook-id", "webhook-timestamp", "webhook-signature"),
        }
        assert path["post"]["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/WebhookMessage"
        }
