"""A real worker finds copies and groups in the background, in bundled datasets and those of earlier releases."""

import os
import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.relations import load_relations, make_relations_key
from heldout.client.client import Client
from tests.e2e.running import Service, lives, until

RECOVERS_SOON = {"HELDOUT_LEASE_S": "2", "HELDOUT_HEARTBEAT_S": "0.5", "HELDOUT_RECONCILE_S": "0.5"}
BUNDLED = "SELECT name, id, relations_status FROM datasets WHERE owner IS NULL"


def rows(service: Service, query: str) -> list[tuple]:
    with closing(sqlite3.connect(service.home / "heldout.db", timeout=30)) as database, database:
        return database.execute(query).fetchall()


def relations_file(service: Service, dataset_id: str) -> Path:
    return service.home / "blobs" / make_relations_key(dataset_id)


def all_stored(service: Service) -> bool:
    return all(status == "stored" for _, _, status in rows(service, BUNDLED))


def test_bundled_datasets_and_those_of_an_earlier_release_get_their_relations(service: Service, client: Client) -> None:
    jobs = len(list(client.jobs.list()))
    until(lambda: all_stored(service), "the relations of the bundled datasets")
    found = {name: dataset_id for name, dataset_id, _ in rows(service, BUNDLED)}
    assert {"digits", "mnist5k"} <= found.keys()
    for name, count in (("digits", 1797), ("mnist5k", 5000)):
        relations = load_relations(relations_file(service, found[name]))
        assert np.array_equal(relations.copy_of, np.arange(count))  # no image occurs twice
        assert relations.group is None
    # After an upgrade from an earlier release, no dataset has relations.
    shutil.rmtree(relations_file(service, found["digits"]).parent)
    rows(service, "UPDATE datasets SET relations_status = NULL WHERE owner IS NULL AND name = 'digits'")
    until(lambda: all_stored(service), "the relations again")
    assert all(relations_file(service, dataset_id).is_file() for dataset_id in found.values())
    assert len(list(client.jobs.list())) == jobs


@pytest.mark.proof  # tests/e2e/test_datasets.py kills a worker in an ingest in every run
def test_another_worker_finishes_what_a_killed_worker_began(make_service) -> None:
    service = make_service(**RECOVERS_SOON).start()
    [searching] = until(service.relating_pids, "a search for copies")
    os.kill(searching, signal.SIGSTOP)  # so that it cannot end before its worker is killed
    [(job_id,)] = rows(service, "SELECT id FROM jobs WHERE kind = 'relate' AND status = 'running'")
    os.kill(service.worker_pid(), signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(searching, signal.SIGCONT)
    until(lambda: not lives(searching), "the end of its process")
    until(lambda: all_stored(service), "the relations of the bundled datasets")
    [(status, attempt, dataset_id)] = rows(
        service, f"SELECT status, attempt, dataset_id FROM jobs WHERE id = '{job_id}'"
    )
    assert (status, attempt) == ("succeeded", 2)
    assert relations_file(service, dataset_id).is_file()
