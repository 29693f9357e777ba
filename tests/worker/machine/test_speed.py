"""A fitted speed explains the times that it was fitted to, and a worker measures it only while it is idle."""

import threading
from dataclasses import asdict

import pytest

from analysis.scheduling.cost import Speed, compute_seconds, count_measuring_work, count_training_work
from heldout.spec.layers import plan_network
from models.database import Database
from models.migrations import upgrade
from models.store import calibrations
from worker.machine.cores import Cores
from worker.machine.speed import CLASSES, SPECS, TWO_TOWER_SPECS, fit_speed
from worker.supervision import threads
from worker.supervision.processes import PipedProcess
from worker.supervision.threads import Calibrator, collect_calibration_facts
from worker.training import child

TRUE = Speed(
    training={
        "step": 1e-4,
        "flops": 2e-12,
        "later_maps": 1e-9,
        "changed": 1e-8,
        "masked": 2e-9,
        "parameters": 3e-9,
        "averaged": 4e-9,
    },
    measuring={"layers": 2e-5, "flops": 5e-12, "pooled": 3e-10},
)


def plan(spec, image):
    return plan_network(spec.network, image, CLASSES)


def compute_exact_times():
    return [
        (
            compute_seconds(count_training_work(spec, plan(spec, image)), TRUE.training),
            compute_seconds(count_measuring_work(spec, plan(spec, image)), TRUE.measuring),
        )
        for spec, image in SPECS
    ]


def test_a_speed_is_recovered_from_its_own_times():
    times = compute_exact_times()
    found = fit_speed(times, None)
    for (spec, image), (step, batch) in zip(SPECS, times, strict=True):
        assert compute_seconds(count_training_work(spec, plan(spec, image)), found.training) == pytest.approx(
            step, rel=1e-6
        )
        assert compute_seconds(count_measuring_work(spec, plan(spec, image)), found.measuring) == pytest.approx(
            batch, rel=1e-6
        )
    assert (found.training_share, found.measuring_share) == (1, 1)
    assert (found.mixed_training, found.mixed_measuring) == (None, None)
    twice = fit_speed([(2 * step, 2 * batch) for step, batch in times], None, mixed=times)
    assert (twice.mixed_training, twice.mixed_measuring) == (found.training, found.measuring)
    assert Speed.from_json(asdict(twice)) == twice


def test_two_towers_take_their_measured_share_and_never_more_than_one():
    times = compute_exact_times()
    faster = [(0.6 * times[number][0], 1.5 * times[number][1]) for number in TWO_TOWER_SPECS]
    found = fit_speed(times, faster)
    assert (found.training_share, found.measuring_share) == (pytest.approx(0.6), 1)


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    upgrade(opened)
    yield opened
    opened.dispose()


class Measuring:
    """Stands in for the process that measures: returns exact times on request."""

    started: list["Measuring"] = []  # noqa: RUF012

    def __init__(self, target, arguments, *, fork):
        assert (target, fork) == (child.measure, True)
        (self.towers, self.precision), self.killed = arguments, False
        self.started.append(self)

    finished = threading.Event()

    def receive(self, timeout_s):
        if not self.finished.wait(0.01):
            return None
        times = compute_exact_times()
        return times if self.towers == 1 else [times[number] for number in TWO_TOWER_SPECS]

    def kill(self):
        self.killed = True


@pytest.fixture
def measuring(monkeypatch):
    Measuring.started, Measuring.finished = [], threading.Event()
    monkeypatch.setattr(threads, "PipedProcess", Measuring)
    monkeypatch.setattr(threads, "IDLE_BEFORE_START_S", 0.01)
    monkeypatch.setattr("worker.machine.cores.find_usable_cores", lambda: (0,))
    return Measuring


def list_speeds(database):
    with database.read() as session:
        return calibrations.list_speeds(session)


def test_an_idle_worker_measures_once_and_stores_the_speed(database, measuring):
    measuring.finished.set()
    for _ in range(2):
        calibrator = Calibrator(database, Cores(), threading.Event())
        calibrator.start()
        calibrator.join(10)
    assert len(measuring.started) == 1
    assert measuring.started[0].killed
    assert list_speeds(database) == [fit_speed(compute_exact_times(), None)]


def test_mixed_precision_is_measured_if_the_processor_has_units_for_it(database, measuring):
    measuring.finished.set()
    calibrator = Calibrator(database, Cores(), threading.Event(), has_bfloat16=True)
    calibrator.start()
    calibrator.join(10)
    assert [process.precision for process in measuring.started] == ["float32", "mixed"]
    assert list_speeds(database) == [fit_speed(compute_exact_times(), None, mixed=compute_exact_times())]


def test_a_speed_is_measured_again_if_its_facts_have_changed(database, measuring):
    with database.write() as session:
        old = asdict(TRUE)
        calibrations.keep(session, host=threads.get_host_name(), device="cpu", facts={"measured": 0}, speed=old)
    measuring.finished.set()
    calibrator = Calibrator(database, Cores(), threading.Event())
    calibrator.start()
    calibrator.join(10)
    assert list_speeds(database) == [fit_speed(compute_exact_times(), None)]
    facts = collect_calibration_facts(1, has_bfloat16=False)
    with database.read() as session:
        assert calibrations.get_facts(session, threads.get_host_name(), "cpu") == facts


def test_a_new_job_ends_the_measuring_which_starts_again_afterwards(database, measuring):
    cores, stopping = Cores(), threading.Event()
    calibrator = Calibrator(database, cores, stopping)
    calibrator.start()
    while not measuring.started:
        stopping.wait(0.01)
    with cores.for_job():
        while not measuring.started[0].killed:
            stopping.wait(0.01)
        measuring.finished.set()
        stopping.wait(0.1)
        assert list_speeds(database) == []
        assert len(measuring.started) == 1
    calibrator.join(10)
    assert len(measuring.started) == 2
    assert len(list_speeds(database)) == 1


def test_a_stopping_worker_leaves_no_process_behind(database, measuring):
    stopping = threading.Event()
    calibrator = Calibrator(database, Cores(), stopping)
    calibrator.start()
    while not measuring.started:
        stopping.wait(0.01)
    stopping.set()
    calibrator.join(10)
    assert measuring.started[0].killed
    assert "calibrator" not in {thread.name for thread in threading.enumerate()}


def test_a_real_process_measures_every_network():
    process = PipedProcess(child.measure, (2, "mixed"), fork=True)
    try:
        times = process.receive(600)
    finally:
        process.kill()
    assert times is not None
    assert len(times) == len(TWO_TOWER_SPECS)
    assert all(0 < batch < 1 and 0 < step < 1 for step, batch in times)
