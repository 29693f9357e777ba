"""Leads generated requests past the door: to jobs that exist, on a dataset that exists. Loaded by schemathesis."""

import json
import os
from itertools import cycle

import schemathesis
from schemathesis.generation import GenerationMode

_ids = cycle(json.loads(os.environ["FUZZ_JOBS"]))


@schemathesis.hook
def before_call(context, case, kwargs):
    """What is meant to be valid gets a job of some state and a dataset, and does not wait; webhooks lead nowhere."""
    if isinstance(case.body, dict) and str(case.body.get("url")).startswith("http"):
        case.body["url"] = "https://nowhere.invalid/"
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if "job_id" in (case.path_parameters or {}):
        case.path_parameters["job_id"] = next(_ids)
    if "wait" in (case.query or {}):
        case.query["wait"] = 0
    if case.operation.path == "/v1/jobs" and isinstance(case.body, dict):
        case.body["dataset"] = "digits"
