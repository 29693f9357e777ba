"""Two jobs share two cores, one core each, and neither changes what the other computes."""

import os

import pytest

from heldout.client.client import Client
from tests.e2e.running import Service, history, spec, until, wait_for_end, wait_for_epoch

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
# Epochs of a third of a second.
FEW_IMAGES = {"train_limit": 1200}
LONG = {"epochs": 1000} | FEW_IMAGES
SHORT = {"epochs": 4} | FEW_IMAGES

# In every run, tests/worker/machine/test_cores.py divides the cores, and tests/worker/training/test_towers.py compares
# the bits.
pytestmark = [pytest.mark.proof, pytest.mark.skipif(CORES != 2, reason="written for a machine with two cores")]


def shares(service: Service) -> list[set[int]]:
    """Return the cores that the threads of each training process may use."""
    return [
        set().union(*(os.sched_getaffinity(int(task)) for task in os.listdir(f"/proc/{pid}/task")))
        for pid in service.training_pids()
    ]


def test_two_jobs_have_a_core_each_and_one_alone_has_both_with_the_same_bits(service: Service, client: Client) -> None:
    alone = client.jobs.create(spec("overfit", **SHORT)).id
    assert wait_for_end(client, alone).status == "succeeded"
    busy = client.jobs.create(spec("overfit", **LONG)).id
    wait_for_epoch(client, busy, 1)
    assert client.jobs.get(busy).engine.towers == client.jobs.get(busy).spec.resources.towers == 2
    assert shares(service) == [{0, 1}]
    second = client.jobs.create(spec("overfit", **SHORT)).id
    wait_for_epoch(client, second, 1)
    assert sorted(map(sorted, shares(service))) == [[0], [1]]
    assert client.jobs.get(second).engine.towers == 2
    assert wait_for_end(client, second).status == "succeeded"
    until(lambda: shares(service) == [{0, 1}], "both cores for the first again")
    assert client.jobs.get(busy).status == "running"
    client.jobs.cancel(busy)
    wait_for_end(client, busy)
    assert client.jobs.get(second).spec == client.jobs.get(alone).spec
    assert history(client, second) == history(client, alone)
    assert client.jobs.metrics(second).final == client.jobs.metrics(alone).final
