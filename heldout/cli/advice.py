"""Replaces routes in the service's advice by commands: `heldout retry ID` for `POST /v1/jobs/ID/retry`."""

import re

# Routes as the service's texts name them, and the commands that send them. The longest come first.
_COMMANDS = (
    (r"POST /v1/jobs/(\S+)/retry", r"`heldout retry \1`"),
    (r"POST /v1/(?:jobs|studies)/(\S+)/model\?format=(\w+)", r"`heldout export \1 --format \2 --again`"),
    (r"POST /v1/datasets/\S+/versions with \{.*\}", "The command below"),
    (r"`data: fix`", "`--fix`"),
    (r"`data: as_they_are`", "`--anyway`"),
    (r"GET /v1/jobs/(\S+)/diagnosis", r"`heldout diagnose \1`"),
    (r"GET /v1/jobs/(\S+)", r"`heldout show \1`"),
    (r"DELETE /v1/studies/(\S+)", r"`heldout studies delete \1`"),
    (r"PUT /v1/datasets/\S+/content", "`heldout datasets push PATH`"),
    (r"GET /v1/jobs", "`heldout jobs`"),
    (r"GET /v1/studies", "`heldout studies`"),
    (r"POST /v1/studies", "`heldout cure JOB`"),
    (r"GET /v1/datasets", "`heldout datasets`"),
    (r"POST /v1/datasets", "`heldout datasets push PATH`"),
    (r"GET /v1/models/([^\s?]+)(\?wait=60)?", r"`heldout models show \1`"),
    (r"GET /v1/models", "`heldout models`"),
    (r"POST /v1/evaluations", "`heldout evaluate MODEL DATASET`"),
    (r"GET /v1/keys", "`heldout keys list`"),
    (r"POST /v1/keys", "`heldout keys create`"),
    (r'retry with \{"patch": (\{.*\})\}', r"`heldout train --from JOB --patch '\1'`"),
    (r"Send `Authorization: Bearer ho_<id>_<secret>` with a key", "Set HELDOUT_API_KEY to a key"),
)


def rewrite_as_commands(text: str, asked: str = "") -> str:
    """Replace the routes in a text of the service by commands.

    Args:
        asked: the requested path. If it names a job, the commands are about that job.
    """
    for pattern, command in _COMMANDS:
        text = re.sub(pattern + r"(?<![.,;:])", command, text)
    job = re.match(r"/v1/jobs/(job_\w+)", asked)
    return text if job is None else text.replace("--from JOB", f"--from {job[1]}")


def format_setting(pointer: str) -> str:
    """Convert a JSON pointer to a path for `--set`: `/network/blocks/0/dropout` is `network.blocks.0.dropout`."""
    keys = pointer.removeprefix("/").split("/")
    return ".".join(key.replace("~1", "/").replace("~0", "~") for key in keys)
