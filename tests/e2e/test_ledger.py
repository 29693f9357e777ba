"""Real trainings enter each epoch's weights in the ledger once; `test_supervision.py` has interrupted ones."""

from heldout.client.client import Client
from tests.e2e.running import Service, list_label_reads, make_validation_reads, wait_for_end
from tests.e2e.stack import digits


def test_a_training_reads_validation_in_each_epoch_and_test_once(service: Service, client: Client) -> None:
    job = wait_for_end(client, client.jobs.create(digits(epochs=2)).id).id
    assert list_label_reads(service, job) == [("test", 2, "measured"), *make_validation_reads(2)]
    for _ in range(2):
        client.jobs.metrics(job)
        client.jobs.diagnosis(job)
        client.jobs.confusion(job)
    assert len(list_label_reads(service, job)) == 3


def test_early_stopping_selects_and_the_last_weights_are_a_second_look_at_test(
    service: Service, client: Client
) -> None:
    job = wait_for_end(
        client, client.jobs.create(digits(epochs=30, early_stopping={"patience": 1, "min_delta": 0.5})).id
    ).id
    metrics = client.jobs.metrics(job)
    assert metrics.final is not None
    kept, last = metrics.final.epoch, len(metrics.epochs)
    assert kept < last
    test_reads = [("test", kept, "measured"), ("test", last, "measured")]
    assert list_label_reads(service, job) == [*test_reads, *make_validation_reads(last, "selected")]
