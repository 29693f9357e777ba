"""Fixtures that the tests of commands share."""

import json
import subprocess
import sys

import httpx2
import pytest

from tests.heldout.served import SPEC


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC))
    return str(path)


@pytest.fixture
def start(environment, tmp_path):
    """Start `heldout …` and return the process; processes that still run at the end are killed."""
    processes = []

    def run(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "heldout", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def answered(service):
    """Return the API's own response, which `--json` should print."""
    return lambda path: httpx2.get(
        f"{service.url}/v1/{path}", headers={"Authorization": f"Bearer {service.key}"}
    ).json()
