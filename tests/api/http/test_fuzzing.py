"""Thousands of generated requests, valid and invalid, are compared with the OpenAPI document."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heldout.service.settings import Settings
from tests.api.support import submit, with_field
from tests.predict.world import predicting

# Rules that no schema can state: a network shrinks to nothing. A release cannot do it yet. 3.0 is not a whole number
# here. A key was used for another request. A regular expression has one group. A digest fits its content. A history has
# a pair of curves. A body has one of two fields. A cursor belongs to the order of its list. A history in Keras' form is
# never thinned. A name has no NUL. A model exists. A class belongs to the dataset. In a form, null is ordinary text.
CONFIG = """
hooks = {hooks}

[[operations]]
include-name-regex = "^((POST|PATCH|PUT) /v1/(jobs|datasets|diagnoses|studies|session|webhooks$)|GET /v1/jobs$)"
[operations.checks]
positive_data_acceptance.enabled = false

[[operations]]
include-name-regex = "^(GET /v1/.*/(metrics|images|memorized)|POST /v1/evaluations)$"
[operations.checks]
positive_data_acceptance.enabled = false

[[operations]]
include-name-regex = "^POST /v1/(datasets|models)$"
[operations.checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
"""


@pytest.fixture
def settings(settings) -> Iterator[Settings]:
    """Add a prediction server in a thread."""
    with predicting(settings) as url:
        yield settings.model_copy(update={"predict_url": url})


@pytest.fixture
def jobs(service, worker, spec) -> list[str]:
    """Return jobs in many states."""
    made = [submit(service, with_field(spec, "priority", 100 - place))["id"] for place in range(12)]
    for place, then in enumerate((worker.succeed, worker.fail, None, "cancel", "pause")):
        held = worker.claim()
        if isinstance(then, str):
            service.post(f"/v1/jobs/{made[place]}/{then}")
        elif then is not None:
            then(held)
    service.post(f"/v1/jobs/{made[5]}/cancel")
    service.post(f"/v1/jobs/{made[6]}/pause")
    return made


@pytest.fixture
def webhooks(service, spec) -> tuple[list[str], list[str]]:
    """Return webhooks, and deliveries of one of them."""
    body = {"url": "https://nowhere.invalid/", "events": ["job.cancelled"]}
    made = [service.post("/v1/webhooks", json=body).json()["id"] for _ in range(6)]
    service.post(f"/v1/jobs/{submit(service, spec)['id']}/cancel")
    log = service.get(f"/v1/webhooks/{made[0]}/deliveries").json()["data"]
    return made, [delivery["id"] for delivery in log]


# How many requests are generated for each operation, in addition to the examples in the document.
# `make test` draws requests at random. `make proofs` also tries the limits of every parameter, one at a time.
EXAMPLES = [
    pytest.param("postgresql", "fuzzing", 2, marks=pytest.mark.timeout(900)),
    pytest.param("postgresql", "coverage,fuzzing", 20, marks=[pytest.mark.proof, pytest.mark.timeout(1800)]),
    pytest.param("sqlite", "coverage,fuzzing", 20, marks=[pytest.mark.proof, pytest.mark.timeout(1800)]),
]


@pytest.mark.parametrize(("database_url", "phases", "examples"), EXAMPLES, indirect=["database_url"])
def test_no_request_breaks_the_service_or_its_openapi_document(
    service, key, jobs, webhooks, tmp_path, log_lines, phases, examples
):
    began = log_lines.tell()
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(hooks=json.dumps(str(Path(__file__).with_name("fuzz_hooks.py")))))
    # Schemathesis itself would wait no longer than ten seconds for it.
    document = tmp_path / "openapi.json"
    document.write_bytes(service.get("/openapi.json").content)
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", config, "run", document, "--url", str(service.base_url)),
        *("--header", f"Authorization: Bearer {key}"),
        *("--phases", phases, "--max-examples", str(examples), "--seed", "1"),
        *("--request-timeout", "60", "--continue-on-failure"),
    ]
    environment = {
        **os.environ,
        "FUZZ_JOBS": json.dumps(jobs),
        "FUZZ_KEY": key.split("_")[1],
        "FUZZ_WEBHOOKS": json.dumps(webhooks[0]),
        "FUZZ_DELIVERIES": json.dumps(webhooks[1]),
        "PYTHONPATH": str(Path.cwd()),
    }
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    statuses = [json.loads(line)["status"] for line in log_lines.getvalue()[began:].splitlines() if '"status"' in line]
    assert len(statuses) > 100 * examples
    assert max(statuses) < 500
    expected = {200, 201, 400, 401, 404, 422} | ({202, 204, 405, 409, 415} if "coverage" in phases else set())
    assert expected <= set(statuses)
    assert service.get("/readyz").status_code == 200
