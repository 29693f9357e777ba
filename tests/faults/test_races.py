"""Clients that change their mind at the worst moment: what was accepted holds."""

import random
import time
from typing import Any

from tests.e2e.running import until
from tests.e2e.stack import Stack, digits, long_digits
from tests.faults.conftest import require_ended_in_order
from tests.faults.marks import on

ROUNDS = 25


class Aim:
    """A delay that approaches an unknown moment: longer after a try that came too early, else shorter."""

    def __init__(self, longest_s: float = 0.4) -> None:
        self._delay_s = longest_s / 2
        self._step_s = longest_s / 4

    def wait(self) -> None:
        time.sleep(self._delay_s)

    def correct(self, *, was_early: bool) -> None:
        """Record on which side of the moment the last try came."""
        self._delay_s = max(0.0, self._delay_s + (self._step_s if was_early else -self._step_s))
        self._step_s = max(0.01, self._step_s * 0.8)


@on()
def test_a_cancel_that_races_with_a_claim_holds_if_it_was_accepted(stack: Stack) -> None:
    stack.start(workers=1, HELDOUT_SLOTS="2")
    claim = Aim()
    codes = []
    for _ in range(ROUNDS):
        job_id = stack.submit(digits(epochs=2))
        claim.wait()
        codes.append(stack.ask("POST", f"/v1/jobs/{job_id}/cancel").status_code)
        claim.correct(was_early=codes[-1] == 200)
    require_ended_in_order(stack)
    assert {200, 202} <= set(codes) <= {200, 202, 409}, "Some cancels should come before the claim, and some after it."


@on()
def test_a_cancel_that_races_with_the_end_holds_if_it_was_accepted(stack: Stack) -> None:
    stack.start(workers=1)
    end = Aim()
    codes = []
    for _ in range(ROUNDS):
        job_id = stack.submit(long_digits(5))
        _trained(stack, job_id, 5)
        end.wait()
        codes.append(stack.ask("POST", f"/v1/jobs/{job_id}/cancel").status_code)
        end.correct(was_early=codes[-1] == 202)
    require_ended_in_order(stack)
    assert set(codes) == {202, 409}, "Some cancels should come before the end, and some after it."


@on()
def test_a_pause_that_races_with_the_end_pauses_or_comes_too_late(stack: Stack) -> None:
    stack.start(workers=1)
    end = Aim()
    ends = []
    for _ in range(ROUNDS):
        job_id = stack.submit(long_digits(5))
        _trained(stack, job_id, 4)
        end.wait()
        code = stack.ask("POST", f"/v1/jobs/{job_id}/pause").status_code
        job = _paused_or_done(stack, job_id)
        ends.append((code, job["status"]))
        end.correct(was_early=job["status"] == "paused")
        if job["status"] == "paused":
            assert stack.ask("POST", f"/v1/jobs/{job_id}/resume").status_code == 200
            assert stack.wait_for_end(job_id)["status"] == "succeeded"
    require_ended_in_order(stack)
    assert set(ends) <= {(202, "paused"), (202, "succeeded"), (409, "succeeded")}
    assert {status for _, status in ends} == {"paused", "succeeded"}, (
        "Some pauses should come in time, and some too late."
    )


@on()
def test_requests_in_any_order_leave_every_job_in_one_end(stack: Stack) -> None:
    stack.start(workers=2, HELDOUT_SLOTS="2")
    chance = random.Random(4)
    jobs = [stack.submit(long_digits(30)) for _ in range(10)]
    for _ in range(120):
        job_id = chance.choice(jobs)
        verb = chance.choices(["pause", "resume", "cancel"], [6, 6, 1])[0]
        assert stack.ask("POST", f"/v1/jobs/{job_id}/{verb}").status_code in {200, 202, 409}
        time.sleep(chance.uniform(0.0, 0.2))  # work continues in between
    for job_id in jobs:

        def resumed(job_id: str = job_id) -> bool:
            job = stack.job(job_id)
            if job["status"] == "paused":
                stack.ask("POST", f"/v1/jobs/{job_id}/resume")
            return job["status"] in {"succeeded", "cancelled"}

        until(resumed, f"the end of {job_id}")
    require_ended_in_order(stack)


def _trained(stack: Stack, job_id: str, epoch: int) -> None:
    """Wait for an epoch, asking often: requests that race with the end are timed from here."""
    until(lambda: stack.job(job_id)["progress"]["epoch"] >= epoch, f"epoch {epoch}", longest_pause_s=0.05)


def _paused_or_done(stack: Stack, job_id: str) -> dict[str, Any]:
    return dict(until(lambda: (job := stack.job(job_id))["status"] in {"paused", "succeeded"} and job, "its end"))
