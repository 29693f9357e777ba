"""Two runners of one study, killed at random: the study ends, with each result once."""

import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx2
import pytest

from heldout.client.client import Client
from tests.e2e.running import Service, until

RUNNER = Path(__file__).with_name("external_runner.py")
ARMS = [{"name": "base"}, {"name": "better"}, {"name": "same"}, {"name": "other"}]
KILLS = 20


@pytest.mark.proof  # in every run, tests/api/routes/studies/test_external.py has leases that end and runners that race
def test_killed_runners_lose_no_training_and_report_none_twice(service: Service, client: Client):
    draw = random.Random(KILLS)
    study = client.studies.create({"kind": "external", "arms": ARMS, "seeds": 12})
    key = (service.home / "api-key").read_text().strip()

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, RUNNER, service.url, key, study.id, f"runner-{number}"])

    runners, killed = [start(0), start(1)], 0
    try:
        while not client.studies.get(study.id).has_ended:
            victim = draw.randrange(2)
            if killed < KILLS:
                until(partial(has_more_results, service, study.id, killed), "the next result")
                runners[victim].kill()
                runners[victim].wait()
                killed += 1
                runners[victim] = start(killed + 1)
            else:
                until(lambda: client.studies.get(study.id).has_ended, "the end of the study")
    finally:
        for runner in runners:
            runner.kill()
            runner.wait()
    assert killed == KILLS
    ended = client.studies.get(study.id)
    assert (ended.status, ended.conclusion.kind, ended.conclusion.remedy) == ("succeeded", "cure", "better")
    runs = runs_of(service, study.id)
    assert len({(run["arm"], run["seed"]) for run in runs}) == len(runs)
    assert all(run["splits"]["validation"]["count"] == 300 for run in runs if run["status"] == "succeeded")
    assert sum(run["attempts"] for run in runs) > len(runs)  # some were given to another runner
    client.studies.delete(study.id)  # other tests use this service, too


def runs_of(service: Service, study: str) -> list[dict]:
    headers = {"Authorization": f"Bearer {(service.home / 'api-key').read_text().strip()}"}
    return httpx2.get(f"{service.url}/v1/studies/{study}/runs", headers=headers).raise_for_status().json()["data"]


def has_more_results(service: Service, study: str, than: int) -> bool:
    return sum(run["status"] == "succeeded" for run in runs_of(service, study)) > than
