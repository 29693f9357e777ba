"""The complete table of transitions, and the decisions that go with it."""

from itertools import product

import pytest

from heldout.lifecycle.job import (
    DETERMINISTIC_FAILURES,
    MAX_FAILURES,
    TERMINAL,
    JobEvent,
    JobRequest,
    JobStatus,
    decide_after_failure,
    get_event_after_request,
    get_next_status,
    get_shown_status,
)
from heldout.lifecycle.resources import ImpossibleTransition

# The design, written a second time: for each state, which events may happen and where they lead.
DESIGN = {
    "queued": {"claim": "running", "cancel": "cancelled", "pause": "paused", "expire": "failed"},
    "running": {
        "succeed": "succeeded",
        "fail": "failed",
        "retry": "queued",
        "release": "queued",
        "lose": "queued",
        "cancel": "cancelled",
        "pause": "paused",
    },
    "paused": {"resume": "queued", "cancel": "cancelled"},
    "succeeded": {},
    "failed": {},
    "cancelled": {},
}


@pytest.mark.parametrize(("status", "event"), list(product(JobStatus, JobEvent)), ids=lambda value: value.value)
def test_every_pair_follows_the_design_or_is_impossible(status, event):
    expected = DESIGN[status].get(event)
    if expected is None:
        with pytest.raises(ImpossibleTransition, match=f"A {status} job cannot {event}"):
            get_next_status(status, event)
    else:
        assert get_next_status(status, event) is JobStatus(expected)


def test_only_terminal_states_are_final():
    assert {status for status in JobStatus if not DESIGN[status]} == TERMINAL


def test_a_cancellation_overrides_every_event_and_a_pause_only_a_return_to_the_queue():
    to_queue = {JobEvent.RETRY, JobEvent.RELEASE, JobEvent.LOSE}
    for event in JobEvent:
        assert get_event_after_request(event, JobRequest.CANCEL) is JobEvent.CANCEL
        assert get_event_after_request(event, JobRequest.PAUSE) is (JobEvent.PAUSE if event in to_queue else event)
        assert get_event_after_request(event, None) is event


def test_a_failure_is_retried_with_growing_pauses_until_the_limit():
    decisions = [decide_after_failure(failures, "process_died") for failures in range(1, MAX_FAILURES + 1)]
    assert [decision.event for decision in decisions] == [JobEvent.RETRY, JobEvent.RETRY, JobEvent.FAIL]
    assert 0 < decisions[0].backoff_s < decisions[1].backoff_s


@pytest.mark.parametrize("code", sorted(DETERMINISTIC_FAILURES))
def test_deterministic_failures_are_not_retried(code):
    assert decide_after_failure(1, code).event is JobEvent.FAIL


def test_only_a_running_job_shows_its_request():
    assert get_shown_status(JobStatus.RUNNING, JobRequest.CANCEL) == "cancelling"
    assert get_shown_status(JobStatus.RUNNING, JobRequest.PAUSE) == "pausing"
    assert [get_shown_status(status, None) for status in JobStatus] == [status.value for status in JobStatus]
    assert get_shown_status(JobStatus.CANCELLED, JobRequest.CANCEL) == "cancelled"
