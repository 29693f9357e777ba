"""Gives generated requests the ids of existing jobs, webhooks and a dataset. Loaded by schemathesis."""

import json
import os
from itertools import cycle
from uuid import uuid4

import schemathesis
from schemathesis.generation import GenerationMode

_ids = cycle(json.loads(os.environ["FUZZ_JOBS"]))
_webhooks = cycle(json.loads(os.environ["FUZZ_WEBHOOKS"]))
_own_key = os.environ["FUZZ_KEY"]
_deliveries = cycle(json.loads(os.environ["FUZZ_DELIVERIES"]))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Give valid requests an existing job and dataset and no wait, and let webhooks lead nowhere."""
    positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if isinstance(case.body, dict) and "url" in case.body and (positive or isinstance(case.body["url"], str)):
        case.body["url"] = "https://nowhere.invalid/"
    if (case.path_parameters or {}).get("key_id") == _own_key:
        case.path_parameters["key_id"] = "000000000000"  # otherwise all later requests would be refused
    if not positive:
        return
    _drop_idempotency_keys(case)
    if case.operation.path == "/v1/keys" and isinstance(case.body, dict):
        case.body.pop("expires_at", None)  # the document cannot say that it must be in the future
    if case.operation.path == "/v1/usage" and case.query:
        for name in ("from", "to"):  # the document cannot say how far apart they may be
            case.query.pop(name, None)
    if "webhook_id" in (case.path_parameters or {}):
        case.path_parameters["webhook_id"] = next(_webhooks)
    if "delivery_id" in (case.path_parameters or {}):
        case.path_parameters["delivery_id"] = next(_deliveries)
    if "job_id" in (case.path_parameters or {}):
        case.path_parameters["job_id"] = next(_ids)
    # Without it a prediction waits half a minute for the export of its model.
    if "wait" in (case.query or {}) or case.operation.path.endswith("/predict"):
        case.query = {**(case.query or {}), "wait": 0}
    if case.operation.path == "/v1/jobs" and isinstance(case.body, dict):
        case.body["dataset"] = "digits"


def _drop_idempotency_keys(case):
    """Replace idempotency keys, because a used key with another body is refused."""
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key":
            case.headers[name] = str(uuid4())
