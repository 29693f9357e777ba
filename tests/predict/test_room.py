"""Limits on the memory of a prediction process: bodies, answers, models and test images."""

import asyncio
import resource
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.requests import Request

from api.turns import Turns
from heldout.errors import InvalidForm, PredictionsUnavailable, RequestTimeout
from models.store.keys import Caller
from predict import bodies
from predict import work as work_of_answers
from predict.bodies import HeldBodies, read_files
from predict.cache import ModelCache
from predict.model import HeldOutImages, OnnxNetwork, ServedModel
from predict.work import Room, WorkThreads, finish_pieces
from tests.predict.world import network_file
from worker.machine import cores

MIB = 1024**2
FORM = "multipart/form-data; boundary=a"


def make_request(*chunks: bytes, kind: str = "image/png", pause_s: float = 0) -> Request:
    left = list(chunks)

    async def receive() -> dict:
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)


def test_answers_wait_for_memory_in_order_and_the_largest_runs_alone():
    async def answers() -> list[str]:
        room, order = Room(200), []

        async def answer(name: str, size: int) -> None:
            async with room.taken(size, "ada"):
                order.append(f"{name} begins")
                await asyncio.sleep(0.01)
                order.append(f"{name} ends")

        await asyncio.gather(answer("a", 60), answer("b", 40), answer("huge", 500), answer("c", 1))
        return order

    order = asyncio.run(answers())
    assert order == ["a begins", "b begins", "a ends", "b ends", "huge begins", "huge ends", "c begins", "c ends"]


def test_half_of_the_memory_is_left_to_other_owners_in_turn():
    async def answers() -> list[str]:
        room, order = Room(200), []

        async def answer(owner: str, size: int) -> None:
            async with room.taken(size, owner):
                order.append(owner)
                await asyncio.sleep(0.01)

        greedy = [answer("ada", 100) for _ in range(4)]
        await asyncio.gather(*greedy, answer("eve", 60), answer("eve", 60), answer("bob", 30))
        assert not room._turns._running
        assert not room._turns._queues
        return order

    order = asyncio.run(answers())
    assert order[:3] == ["ada", "eve", "bob"], "none of them waits for ada's other requests"
    assert sorted(order) == ["ada"] * 4 + ["bob"] + ["eve"] * 2


def test_a_request_without_memory_in_time_is_refused_and_later_ones_continue(monkeypatch):
    monkeypatch.setattr(work_of_answers, "MAX_WAIT_S", 0.05)

    async def answers() -> None:
        room = Room(200)
        async with room.taken(80, "ada"):
            with pytest.raises(PredictionsUnavailable):
                async with room.taken(30, "ada"):
                    pass
            async with room.taken(20, "ada"):
                pass
        assert not room._turns._running

    asyncio.run(answers())


def test_owners_take_turns_between_pieces_of_work(monkeypatch):
    monkeypatch.setattr(work_of_answers, "TURN_S", 0.0)

    async def ask() -> list[str]:
        work, order = WorkThreads(1), []

        def pieces(name: str, count: int) -> Generator[None, None, str]:
            for _ in range(count):
                order.append(name)
                time.sleep(0.01)
                yield
            order.append(f"{name} ends")
            return name

        def left() -> None:
            if len(order) >= 8:
                raise InvalidForm("left")

        counts = {"ada": 20, "bob": 20, "eve": 2}  # two of them have all the threads at first
        asked = [work.run(owner, pieces(owner, count), is_short=False) for owner, count in counts.items()]
        assert await asyncio.gather(*asked) == list(counts)
        found, order[:] = list(order), []
        with pytest.raises(InvalidForm):
            await work.run("ada", pieces("ada", 20), is_short=False, before_each=left)
        assert len(order) <= 9, "the rest is not computed"
        work.close()
        return found

    order = asyncio.run(ask())
    assert order.index("eve ends") < 20


def test_computing_in_pieces_gives_the_same_probabilities():
    counted = SimpleNamespace(is_counted=True, count=lambda pixels: None, size_bytes=0)
    model = ServedModel(OnnxNetwork(network_file(), threads=1), SimpleNamespace(values_per_image=None), 1, counted)
    images = np.random.default_rng(0).integers(0, 17, (100, 8, 8, 1)).astype(np.uint8)
    at_once = model.network.compute_probabilities(images.astype(np.float32))
    model._seconds_per_image = 0.02  # two images a piece
    pieces = model.answer(images, images)
    assert sum(1 for _ in range(3) if next(pieces) is None) == 3, "the work is done in pieces"
    model._seconds_per_image = 0.02
    np.testing.assert_array_equal(finish_pieces(model.answer(images, images)), at_once)


def test_models_of_the_owner_with_the_most_memory_are_dropped_first(monkeypatch):
    async def exported(*_) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(ModelCache, "_get_export", exported)
    monkeypatch.setattr(
        ModelCache, "_load", lambda self, caller, job_id, row: SimpleNamespace(size_bytes=4, facts=caller)
    )

    async def ask() -> ModelCache:
        cache = ModelCache(None, None, SimpleNamespace(predict_cache_bytes=20), 1)
        await cache.get(Caller("eve", "key"), "job_of_eve", wait_s=1)
        for number in range(20):
            await cache.get(Caller("ada", "key"), f"job_{number}", wait_s=1)
        return cache

    assert list(asyncio.run(ask())._models) == ["job_of_eve", "job_16", "job_17", "job_18", "job_19"]


def test_one_owners_bodies_leave_memory_for_others():
    async def receive() -> None:
        held = HeldBodies(64, memory_bytes=400)
        async with (
            held.received(make_request(bytes(30)), "ada") as first,
            held.received(make_request(bytes(20)), "ada"),
        ):
            assert len(first) == 30
            with pytest.raises(PredictionsUnavailable, match="Your other requests"):
                async with held.received(make_request(bytes(1)), "ada"):
                    pass
            async with held.received(make_request(bytes(60), kind=FORM), "eve"):  # a form counts at four times its size
                with pytest.raises(PredictionsUnavailable, match="Other requests use all"):
                    async with held.received(make_request(bytes(40)), "bob"):
                        pass
        assert not held._held
        async with held.received(make_request(bytes(64), kind=FORM), "ada") as alone:
            assert len(alone) == 64

    asyncio.run(receive())


def test_a_slow_body_times_out(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_RECEIVE_S", 0.05)

    async def receive() -> None:
        with pytest.raises(RequestTimeout):
            async with HeldBodies(64, 64).received(make_request(*[b"a"] * 30, pause_s=0.01), "ada"):
                pass

    asyncio.run(receive())


def test_a_form_with_too_much_between_its_files_is_refused_without_blocking(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_FORM_S", 0.2)
    head = b'--a\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nx\r\n--a'
    pauses = []  # in processor time of this thread, because other programs may delay it

    async def tick() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            pauses.append(time.thread_time() - began)

    async def read() -> None:
        ticking = asyncio.create_task(tick())
        with pytest.raises(InvalidForm, match="too much data between its files"):
            await read_files(make_request(b"", kind=FORM), head + b" " * 4 * MIB, Turns(1), "ada")
        ticking.cancel()

    asyncio.run(read())
    assert max(pauses, default=0) < 0.2, "the event loop was blocked"


def test_a_network_releases_the_memory_of_its_largest_batch():
    network = OnnxNetwork(network_file((64, 64, 3)), threads=1)
    network.compute_probabilities(np.zeros((1, 64, 64, 3), np.float32))
    before = _get_resident_bytes()
    # Enough images that each array is larger than what malloc itself keeps for reuse.
    network.compute_probabilities(np.zeros((700, 64, 64, 3), np.float32))
    assert _get_resident_bytes() - before < 20 * MIB


def _get_resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_test_images_are_read_once_for_all_requests_and_again_after_a_failure():
    held_out, reads = HeldOutImages(None, None, "job_1", 1, "1" * 64), []

    async def run(read) -> None:
        reads.append(read)
        await asyncio.sleep(0.01)
        if len(reads) == 1:
            raise OSError
        held_out._digests = frozenset([b"1"])

    async def ask() -> list:
        first = await asyncio.gather(*[held_out.be_ready(run) for _ in range(5)], return_exceptions=True)
        await asyncio.gather(*[held_out.be_ready(run) for _ in range(5)])
        await held_out.be_ready(run)
        return first

    assert [type(outcome) for outcome in asyncio.run(ask())] == [OSError] * 5
    assert len(reads) == 2
    assert held_out.size_bytes > 0


def test_a_model_requested_many_times_at_once_is_loaded_once(monkeypatch):
    loads, model = [], SimpleNamespace(size_bytes=1, facts=SimpleNamespace(owner="ada"))

    async def exported(*_) -> None:
        await asyncio.sleep(0)

    def load(self, caller, job_id, row) -> SimpleNamespace:
        loads.append(job_id)
        time.sleep(0.02)
        return model

    monkeypatch.setattr(ModelCache, "_get_export", exported)
    monkeypatch.setattr(ModelCache, "_load", load)

    async def ask() -> None:
        caller = Caller("ada", "key")
        cache = ModelCache(None, None, SimpleNamespace(predict_cache_bytes=10), 1)
        await asyncio.gather(*[cache.get(caller, f"job_{number % 2}", wait_s=1) for number in range(40)])

    asyncio.run(ask())
    assert sorted(loads) == ["job_0", "job_1"]


def test_only_short_batches_are_answered_in_the_event_loop():
    counted = SimpleNamespace(is_counted=True, count=lambda pixels: None, size_bytes=0)
    model = ServedModel(OnnxNetwork(network_file(), threads=1), None, 1, counted)
    assert not model.is_short(1)  # its speed is not known yet
    model._seconds_per_image = 0.001
    assert model.is_short(2)
    assert not model.is_short(3)


@pytest.mark.parametrize(("limit", "count"), [("150000 100000", 2), ("max 100000", 4), ("10000 100000", 1)])
def test_a_containers_limit_counts_as_cores(tmp_path, monkeypatch, limit, count):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(cores, "_CGROUP_LIMIT_FILE", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "find_usable_cores", lambda: (0, 1, 2, 3))
    assert cores.count_cores() == count
