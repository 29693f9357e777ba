"""On a real broker, each wake-up goes only to the queue whose workers can claim its job."""

import base64
import json
from collections.abc import Iterator

import pytest
import redis

from api.dispatch import Publisher
from heldout.spec.job import Device
from models.store import claims
from models.wake import WakeUp
from tests.e2e.running import until
from tests.models.work import Work

# The queues that workers read without and with GPUs (worker/celery_app.py).
READ_WITHOUT_GPUS, READ_WITH_GPUS = {"train"}, {"train", "train.gpu"}
ANY_DEVICE = ("auto", "cpu", "gpu")


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        opened.flushdb()
        yield opened
        opened.flushdb()


@pytest.fixture
def publisher(redis_url: str) -> Iterator[Publisher]:
    made = Publisher(redis_url)
    yield made
    made.close()


@pytest.fixture
def work(database) -> Work:
    return Work(database)


def find_queues(broker: redis.Redis, job_id: str) -> set[str]:
    """Return the queues that hold a wake-up for the job."""
    found = set()
    for queue in READ_WITH_GPUS:
        for raw in broker.lrange(queue, 0, -1):
            if json.loads(base64.b64decode(json.loads(raw)["body"]))[0] == [job_id]:
                found.add(queue)
    return found


@pytest.mark.parametrize(
    ("device", "gpus", "queue"),
    [
        ("auto", 1, "train"),
        ("cpu", 1, "train"),
        ("gpu", 1, "train.gpu"),
        ("gpu", 2, "train.gpu"),
        ("auto", 2, "train.gpu"),
    ],
)
def test_a_wake_up_goes_to_a_queue_of_workers_that_can_claim_the_job(
    work: Work, publisher: Publisher, broker: redis.Redis, device: Device, gpus: int, queue: str
) -> None:
    job_id = work.submit(resources={"device": device, "gpus": gpus})
    # The reconciler, and a worker that returns a job, repeat its wake-up.
    work.set(job_id, announced_at=None)
    with work.database.write() as session:
        [again] = claims.take_wake_ups_to_repeat(session, older_than_s=30)
    publisher.publish([again])
    until(lambda: find_queues(broker, job_id), "delivery of the message", within_s=30)
    assert find_queues(broker, job_id) == {queue}

    assert (work.claim(devices=("auto", "cpu"), gpus=0) is not None) == (queue in READ_WITHOUT_GPUS)
    work.set(job_id, status="queued")
    claimed = work.claim(devices=ANY_DEVICE, gpus=2)
    assert claimed is not None
    assert WakeUp.for_job(claimed.held.job_id, claimed.needs.gpus) == again


def test_wake_ups_are_repeated_only_on_empty_queues(publisher: Publisher, broker: redis.Redis) -> None:
    publisher.publish_again([WakeUp("job_1", "train")])
    publisher.publish_again([WakeUp("job_2", "train"), WakeUp("job_3", "train.gpu"), WakeUp("job_4", "train.gpu")])
    assert find_queues(broker, "job_1") == {"train"}
    assert find_queues(broker, "job_2") == set(), "its workers already have a message"
    assert find_queues(broker, "job_3") == find_queues(broker, "job_4") == {"train.gpu"}
