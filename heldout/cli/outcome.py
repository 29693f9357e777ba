"""Exit codes, and the messages of commands that failed, with commands in place of the service's routes."""

import re
import sys
from enum import IntEnum
from typing import Any

from heldout.cli.screen import print_json, say
from heldout.client.failures import ApiProblem, NoService
from heldout.fixes.bodies import format_fix_command

# Routes as the service's texts name them, and the commands that send them. The longest come first.
_COMMANDS_OF_ROUTES = (
    (r"POST /v1/jobs/(\S+)/retry", r"`heldout retry \1`"),
    (r"POST /v1/jobs/(\S+)/proof", r"`heldout diagnose \1 --prove`"),
    (r"POST /v1/(?:jobs|studies)/(\S+)/model\?format=(\w+)", r"`heldout export \1 --format \2 --again`"),
    (r"POST /v1/datasets/\S+/versions with \{.*\}", "The command below"),
    (r"`data: fix`", "`--fix`"),
    (r"`data: as_they_are`", "`--anyway`"),
    (r"GET /v1/jobs/(\S+)/images/(\d+)/heatmap\?again=true", r"`heldout explain \1 \2 --again`"),
    (r"GET /v1/jobs/(\S+)/diagnosis", r"`heldout diagnose \1`"),
    (r"GET /v1/jobs/(\S+)", r"`heldout show \1`"),
    (r"POST /v1/studies/(\S+)/(cancel|close)", r"`heldout studies \2 \1`"),
    (r"GET /v1/studies/(\S+)/runs", r"`heldout studies show \1`"),
    (r"DELETE /v1/studies/(\S+)", r"`heldout studies delete \1`"),
    (r"PUT /v1/datasets/\S+/content", "`heldout datasets push PATH`"),
    (r"GET /v1/jobs", "`heldout jobs`"),
    (r"GET /v1/studies", "`heldout studies`"),
    (r"POST /v1/studies", "`heldout cure JOB`"),
    (r"GET /v1/datasets/(\S+)/suspects\?again=true", r"`heldout datasets suspects \1`"),
    (r"GET /v1/datasets(?!/)", "`heldout datasets`"),
    (r"POST /v1/datasets", "`heldout datasets push PATH`"),
    (r"GET /v1/models/([^\s?]+)(\?wait=60)?", r"`heldout models show \1`"),
    (r"GET /v1/models", "`heldout models`"),
    (r"GET /v1/webhooks", "`heldout webhooks`"),
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
    for pattern, command in _COMMANDS_OF_ROUTES:
        text = re.sub(pattern + r"(?<![.,;:])", command, text)
    job = re.match(r"/v1/jobs/(job_\w+)", asked)
    return text if job is None else text.replace("--from JOB", f"--from {job[1]}")


def format_setting(pointer: str) -> str:
    """Convert a JSON pointer to a path for `--set`: `/network/blocks/0/dropout` is `network.blocks.0.dropout`."""
    keys = pointer.removeprefix("/").split("/")
    return ".".join(key.replace("~1", "/").replace("~0", "~") for key in keys)


class Exit(IntEnum):
    SUCCEEDED = 0
    FAILED = 1
    REFUSED = 2  # wrong usage, or a request that the service refused
    CANCELLED = 3
    NO_SERVICE = 4  # or the key lacks the right
    # Answers of `heldout judge`, for which 0 means better.
    AS_GOOD = 10
    WORSE = 11
    CANNOT_TELL = 12
    SPENT = 13
    INTERRUPTED = 130
    BROKEN_PIPE = 141  # as a shell reports a program ended by SIGPIPE


class Refused(Exception):
    """The command line, or a file that it names, is wrong; the message says what and why."""


def exit_of_job(status: str) -> Exit:
    """Return the exit code for the status of a job that has ended."""
    return Exit[status.upper()]


def exit_of_answer(answer: str) -> Exit:
    """Return the exit code for an answer of a judge."""
    return Exit.SUCCEEDED if answer == "better" else Exit[answer.upper()]


def exit_of_problem(problem: ApiProblem) -> Exit:
    """Return 4 if the key is not accepted or the service is unavailable, 2 if it refused the request."""
    out_of_order = problem.status >= 500 or problem.status in {401, 403, 429} or problem.code == "unexpected_answer"
    return Exit.NO_SERVICE if out_of_order else Exit.REFUSED


def report(failure: ApiProblem | NoService | Refused | OSError, *, as_json: bool) -> Exit:
    """Say on standard error what went wrong; with `--json` print it as a problem on standard output too."""
    document, lines, code = _describe_failure(failure)
    for line in lines:
        say(line, file=sys.stderr)
    if as_json:
        print_json(document)
    return code


def _describe_failure(failure: ApiProblem | NoService | Refused | OSError) -> tuple[dict[str, Any], list[str], Exit]:
    if isinstance(failure, ApiProblem):
        return failure.document, _list_lines(failure), exit_of_problem(failure)
    if isinstance(failure, NoService):
        return {"code": "no_service", "detail": str(failure)}, [f"heldout: {failure}"], Exit.NO_SERVICE
    if isinstance(failure, OSError):
        where = f"{failure.filename}: " if failure.filename else ""
        failure = Refused(f"{where}{failure.strerror or failure}")
    return {"code": "refused", "detail": str(failure)}, [f"heldout: {failure}"], Exit.REFUSED


def _list_lines(problem: ApiProblem) -> list[str]:
    """Return one line for the problem, and one for each refused field that it does not already name."""
    asked = str(problem.document.get("instance") or "")
    detail = rewrite_as_commands(problem.detail, asked)
    fields = [
        f"  {format_setting(error.pointer) or 'the body'}: {rewrite_as_commands(error.detail, asked)}"
        for error in problem.errors
    ]
    for error in problem.errors:
        detail = detail.replace(f"{error.pointer}: ", f"{format_setting(error.pointer)}: ") if error.pointer else detail
    fields += _list_commands(problem.document.get("request"))
    if len(problem.errors) == 1 and problem.errors[0].detail in problem.detail:
        return [f"heldout: {problem.title}", *fields]
    return [f"heldout: {problem.title}: {detail}" if detail else f"heldout: {problem.title}", *fields]


def _list_commands(request: Any) -> list[str]:
    """Return the command for the request with which the service would fix the failure."""
    try:
        match request["path"].split("/"):
            case ["", "v1", "datasets", dataset, "versions"]:
                return [f"  {format_fix_command(dataset, request['body'])}"]
    except (KeyError, TypeError, AttributeError):
        pass  # another release's request, or none
    return []
