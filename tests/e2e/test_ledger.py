"""Real trainings enter each epoch's weights in the ledger once, whatever happens to their worker."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from heldout.client.client import Client
from tests.e2e.running import Service, after_epoch, ended, until
from tests.e2e.stack import digits, long_digits

Reads = Callable[[str], list[tuple[str, int, str]]]


@pytest.fixture
def reads(service: Service) -> Reads:
    """Lists split, epoch and kind of each look of a job, in order."""

    def of_job(job_id: str) -> list[tuple[str, int, str]]:
        query = "SELECT split, epoch, what FROM label_reads WHERE subject_id = ? ORDER BY split, epoch"
        with closing(sqlite3.connect(service.home / "heldout.db")) as database:
            return [tuple(row) for row in database.execute(query, (job_id,))]

    return of_job


def validation(epochs: int, what: str = "measured") -> list[tuple[str, int, str]]:
    return [("validation", epoch, what) for epoch in range(1, epochs + 1)]


def test_a_training_reads_validation_in_each_epoch_and_test_once(client: Client, reads: Reads) -> None:
    job = ended(client, client.jobs.create(digits(epochs=2)).id).id
    assert reads(job) == [("test", 2, "measured"), *validation(2)]
    for _ in range(2):
        client.jobs.metrics(job)
        client.jobs.diagnosis(job)
        client.jobs.confusion(job)
    assert len(reads(job)) == 3


def test_early_stopping_selects_and_the_last_weights_are_a_second_look_at_test(client: Client, reads: Reads) -> None:
    job = ended(client, client.jobs.create(digits(epochs=30, early_stopping={"patience": 1, "min_delta": 0.5})).id).id
    metrics = client.jobs.metrics(job)
    assert metrics.final is not None
    kept, last = metrics.final.epoch, len(metrics.epochs)
    assert kept < last
    assert reads(job) == [("test", kept, "measured"), ("test", last, "measured"), *validation(last, "selected")]


def test_a_cancelled_job_has_read_only_what_it_measured(client: Client, reads: Reads) -> None:
    job = client.jobs.create(long_digits(300)).id
    after_epoch(client, job, 2)
    client.jobs.cancel(job)
    ended(client, job)
    measured = len(client.jobs.metrics(job).epochs)
    assert measured >= 2
    assert reads(job) == validation(measured)


def test_a_job_reads_each_epoch_once_despite_a_pause_and_a_dead_process(
    service: Service, client: Client, reads: Reads
) -> None:
    job = client.jobs.create(long_digits(40)).id
    after_epoch(client, job, 2)
    client.jobs.pause(job)
    until(lambda: client.jobs.get(job).status == "paused", "the pause")
    measured = len(client.jobs.metrics(job).epochs)
    client.jobs.resume(job)
    after_epoch(client, job, measured + 1)
    [training] = service.training_pids()
    os.kill(training, signal.SIGKILL)
    assert ended(client, job).attempt == 3
    assert reads(job) == [("test", 40, "measured"), *validation(40)]
