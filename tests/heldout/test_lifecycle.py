"""The whole table of transitions, and the decisions that go with it."""

from itertools import product

import pytest

from heldout.lifecycle.job import (
    DETERMINISTIC_FAILURES,
    MAX_FAILURES,
    SHOWN_STATUSES,
    TERMINAL,
    ImpossibleTransition,
    JobEvent,
    JobRequest,
    JobStatus,
    decide_after_failure,
    get_event_after_request,
    get_next_status,
    get_shown_status,
)

# What the design says, written a second time and by state: a row for each state, what may happen, where it leads.
SAID = {
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
def test_every_pair_leads_where_the_design_says_or_nowhere(status, event):
    expected = SAID[status].get(event)
    if expected is None:
        with pytest.raises(ImpossibleTransition, match=f"A {status} job cannot {event}"):
            get_next_status(status, event)
    else:
        assert get_next_status(status, event) is JobStatus(expected)


def test_a_terminal_state_is_final_and_every_other_one_has_a_way_out():
    assert {status for status in JobStatus if not SAID[status]} == TERMINAL


def test_every_state_can_be_reached_from_queued():
    reached, seen = {JobStatus.QUEUED}, set()
    while reached - seen:
        status = (reached - seen).pop()
        seen.add(status)
        reached |= {JobStatus(after) for after in SAID[status].values()}
    assert reached == set(JobStatus)


@pytest.mark.parametrize("event", list(JobEvent), ids=lambda event: event.value)
def test_an_accepted_cancel_wins_over_every_end(event):
    assert get_event_after_request(event, JobRequest.CANCEL) is JobEvent.CANCEL


@pytest.mark.parametrize("event", list(JobEvent), ids=lambda event: event.value)
def test_an_accepted_pause_wins_over_the_queue_and_loses_to_a_real_end(event):
    back_to_the_queue = event in {JobEvent.RETRY, JobEvent.RELEASE, JobEvent.LOSE}
    assert get_event_after_request(event, JobRequest.PAUSE) is (JobEvent.PAUSE if back_to_the_queue else event)


@pytest.mark.parametrize("event", list(JobEvent), ids=lambda event: event.value)
def test_without_a_request_what_happens_is_what_happened(event):
    assert get_event_after_request(event, None) is event


def test_a_failure_is_tried_again_with_growing_pauses_and_then_not():
    decisions = [decide_after_failure(failures, "process_died") for failures in range(1, MAX_FAILURES + 1)]
    assert [decision.event for decision in decisions] == [JobEvent.RETRY, JobEvent.RETRY, JobEvent.FAIL]
    assert 0 < decisions[0].backoff_s < decisions[1].backoff_s


@pytest.mark.parametrize("code", sorted(DETERMINISTIC_FAILURES))
def test_what_another_attempt_would_only_repeat_is_not_tried_again(code):
    assert decide_after_failure(1, code).event is JobEvent.FAIL


def test_only_a_running_job_shows_its_request():
    assert get_shown_status(JobStatus.RUNNING, JobRequest.CANCEL) == "cancelling"
    assert get_shown_status(JobStatus.RUNNING, JobRequest.PAUSE) == "pausing"
    assert [get_shown_status(status, None) for status in JobStatus] == [status.value for status in JobStatus]
    assert get_shown_status(JobStatus.CANCELLED, JobRequest.CANCEL) == "cancelled"


def test_all_shown_statuses_are_listed():
    shown = {get_shown_status(status, request) for status in JobStatus for request in (None, *JobRequest)}
    assert shown == set(SHOWN_STATUSES)
