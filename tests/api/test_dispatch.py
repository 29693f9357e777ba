"""Wake-ups on a real broker: each job's goes to the queue whose workers can claim it, and to no other."""

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

# What the Celery drivers of workers read, by whether they have GPUs (worker/celery_app.py).
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


def queues_of(broker: redis.Redis, job_id: str) -> set[str]:
    """The queues on which a wake-up for the job lies."""
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
def test_a_wake_up_lies_where_workers_read_it_that_can_claim_the_job(
    work: Work, publisher: Publisher, broker: redis.Redis, device: Device, gpus: int, queue: str
) -> None:
    job_id = work.submit(resources={"device": device, "gpus": gpus})
    # As the reconciler tells of it, and as its worker does that gives it back.
    work.set(job_id, announced_at=None)
    with work.database.write() as session:
        [again] = claims.take_wake_ups_to_repeat(session, older_than_s=30)
    publisher.publish([again])
    until(lambda: queues_of(broker, job_id), "the message", within_s=30)
    assert queues_of(broker, job_id) == {queue}

    assert (work.claim(devices=("auto", "cpu"), gpus=0) is not None) == (queue in READ_WITHOUT_GPUS)
    work.set(job_id, status="queued")
    claimed = work.claim(devices=ANY_DEVICE, gpus=2)
    assert claimed is not None
    assert WakeUp.for_job(claimed.held.job_id, claimed.needs.gpus) == again


def test_wake_ups_are_repeated_on_empty_queues_alone(publisher: Publisher, broker: redis.Redis) -> None:
    publisher.publish_again([WakeUp("job_1", "train")])
    publisher.publish_again([WakeUp("job_2", "train"), WakeUp("job_3", "train.gpu"), WakeUp("job_4", "train.gpu")])
    assert queues_of(broker, "job_1") == {"train"}
    assert queues_of(broker, "job_2") == set(), "its workers have a message already"
    assert queues_of(broker, "job_3") == queues_of(broker, "job_4") == {"train.gpu"}
