"""The blocking client, the async client, the command line and the OpenAPI document have the same routes."""

import asyncio
import inspect
import re
from operator import attrgetter
from pathlib import Path

import httpx2
import pytest

from api.app import create_app
from heldout import AsyncClient, Client
from heldout.client.client import RESOURCES
from heldout.client.dual import dual, dual_iterator
from heldout.client.failures import ApiProblem
from heldout.service.settings import make_embedded_settings
from heldout.views.diagnosis import DiagnosisView
from tests.heldout.served import ROOT, SPEC

# Browsers log in and out with these; programs send a key.
BROWSERS_ALONE = {"POST /v1/session", "DELETE /v1/session"}
# These call other methods.
COMPOSED = {"datasets.push", "models.push"}


def find_methods():
    """Return the methods of all resources, such as `jobs.get`."""
    with Client("http://127.0.0.1:9", "ho_1_x") as client:
        kinds = {resource: type(getattr(client, resource)) for resource in RESOURCES}
    return {
        f"{resource}.{name}": member
        for resource, kind in kinds.items()
        for name, member in inspect.getmembers(kind)
        if isinstance(member, dual | dual_iterator) and f"{resource}.{name}" not in COMPOSED
    }


METHODS = find_methods()
ARGUMENTS = {
    "answer": "dog",
    "arms": {"base": {}, "better": {"dropout": 0.3}},
    "changes": {"drop_copies": True},
    "class_": "cat",
    "content": [b"bytes"],
    "diagnosis": DiagnosisView(
        object="diagnosis", verdict="healthy", best_epoch=None, onset_epoch=None, explanation="Fine.", findings=[]
    ),
    "events": ["job.succeeded"],
    "history": {"loss": [1.0]},
    "images": b"a file",
    "index": 3,
    "label": "cat",
    "predictions": {"test": {"labels": [0]}},
    "route": "/v1/datasets/x1/preview/3",
    "spec": SPEC,
    "study": {"job": "x1"},
    "url": "https://example.com",
    "validation": {"1.png": "cat"},
    "to": "unused",
}


class Recorder(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Records requests, and refuses each."""

    def __init__(self):
        self.requests = []

    def handle_request(self, request):
        self.requests.append(f"{request.method} {request.url.path}")
        return httpx2.Response(404, json={"code": "route_not_found"}, request=request)

    async def handle_async_request(self, request):
        return self.handle_request(request)


def make_arguments(method):
    """Make an argument for each parameter without a default; all ids are alike."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return {
        parameter.name: ARGUMENTS.get(parameter.name, "x1")
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }


def record_blocking(name):
    recorder = Recorder()
    with Client("http://127.0.0.1:9", "ho_1_x", transport=recorder) as client, pytest.raises(ApiProblem):
        list(attrgetter(name)(client)(**make_arguments(METHODS[name])))
    return recorder.requests


def record_async(name):
    recorder = Recorder()

    async def ask():
        async with AsyncClient("http://127.0.0.1:9", "ho_1_x", transport=recorder) as client:
            made = attrgetter(name)(client)(**make_arguments(METHODS[name]))
            await (made if inspect.isawaitable(made) else anext(made))

    with pytest.raises(ApiProblem):
        asyncio.run(ask())
    return recorder.requests


def add_predictions_by_file(asked):
    """Add the route by which `diagnoses.create_from_predictions` sends a file, here this one."""
    recorder = Recorder()
    with Client("http://127.0.0.1:9", "ho_1_x", transport=recorder) as client, pytest.raises(ApiProblem):
        client.diagnoses.create_from_predictions(Path(__file__))
    asked["diagnoses.create_from_predictions (file)"] = recorder.requests


def add_models_of_studies(asked):
    """Add the routes of methods that accept a study's id for its ensemble as well as a job's id."""
    for name in [name for name in METHODS if "source_id" in make_arguments(METHODS[name])]:
        recorder = Recorder()
        with Client("http://127.0.0.1:9", "ho_1_x", transport=recorder) as client, pytest.raises(ApiProblem):
            attrgetter(name)(client)(**make_arguments(METHODS[name]) | {"source_id": "std_1"})
        asked[f"{name} (study)"] = recorder.requests


def test_every_route_has_a_method_in_both_clients_and_every_method_a_route(tmp_path):
    document = create_app(make_embedded_settings(tmp_path)).openapi()
    served = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    asked = {name: record_blocking(name) for name in METHODS}
    assert {name: record_async(name) for name in asked} == asked
    add_predictions_by_file(asked)
    add_models_of_studies(asked)
    patterns = {re.compile(re.sub(r"\{\w+\}", "[^/]+", route)): route for route in served}
    # The longest pattern wins: /v1/jobs/cancel is not a job with the id `cancel`.
    named = {
        name: max((route for pattern, route in patterns.items() if pattern.fullmatch(sent)), key=_fixed, default=sent)
        for name, [sent, *_] in asked.items()
    }
    assert {name: route for name, route in named.items() if route not in served} == {}
    assert served - set(named.values()) == BROWSERS_ALONE


def _fixed(route):
    return len(re.sub(r"\{\w+\}", "", route))


def test_the_command_line_uses_only_methods_of_the_client():
    calls = {
        call
        for file in (ROOT / "heldout/cli").rglob("*.py")
        for call in re.findall(r"\bclient\.(\w+\.\w+)\(", file.read_text())
    }
    assert len(calls) > 30
    assert calls - METHODS.keys() - COMPOSED == set()
