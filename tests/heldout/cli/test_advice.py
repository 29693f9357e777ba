"""The service's advice, rewritten for the command line."""

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules

import pytest

from heldout import errors
from heldout.cli.outcome import format_setting, rewrite_as_commands
from models import digests

JOB = "job_01m8"
RETRY = 'To train anew, retry with {"patch": {"training": {"epochs": 20}}}.'
DATA = errors.DataFirst(JOB, "ds_1", [("leakage", "Copies.")], {"drop_copies": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (errors.JobFinished(JOB, "failed").detail, f"`heldout retry {JOB}` makes a new one."),
        (errors.NoModel(JOB, "model", "failed").detail, f"`heldout retry {JOB}` trains it again."),
        (errors.JobNotFound("x").detail, "List them with `heldout jobs`."),
        (errors.StudyNotFound("x").detail, "List them with `heldout studies`."),
        (errors.WebhookNotFound("x").detail, "List them with `heldout webhooks`."),
        (errors.DatasetNotFound("x").detail, "List them with `heldout datasets`."),
        (errors.PartOfStudy(JOB, "std_1").detail, "`heldout studies delete std_1` deletes the study"),
        (
            errors.UploadFinished("p", 1, "ready", has_other_content=True).detail,
            "`heldout datasets push PATH` creates the next",
        ),
        (DATA.detail, "The command below makes a fixed version; `--fix` makes it"),
        (DATA.detail, "`--anyway` compares remedies on the data as they are."),
        (RETRY, """`heldout train --from job_01m8 --patch '{"training": {"epochs": 20}}'`."""),
        ("Nothing to translate.", "Nothing to translate."),
    ],
    ids=lambda text: text[:30],
)
def test_a_route_is_rewritten_as_its_command(text, expected):
    written = rewrite_as_commands(text, f"/v1/jobs/{JOB}/retry")
    assert expected in written
    assert "/v1/" not in written
    assert "Authorization" not in rewrite_as_commands(errors.Unauthenticated().detail)


def test_no_printed_error_names_a_route_that_has_a_command():
    """Every route in an error's detail is printed as a command, except routes that no command uses."""
    # A route that is only rewritten in part leaves a slash behind.
    spoken = [text for text in _texts() if re.search(r"/v1/|`/|`heldout [^`]*/", rewrite_as_commands(text))]
    without_command = ("webhook", "GET /v1/evaluations", "/map?again")
    assert {text for text in spoken if not any(name in text for name in without_command)} == set()


def _texts():
    of_errors = [import_module(f"heldout.errors.{found.name}") for found in iter_modules(errors.__path__)]
    for module in (*of_errors, digests):
        for text in re.findall(r'f?"([^"\n]*[A-Z] /v1/[^"\n]*)"', inspect.getsource(module)):
            yield re.sub(r"\{[\w\[\]:]+\}", "1", text)


@pytest.mark.parametrize(
    ("pointer", "path"),
    [("/network/blocks/0/dropout", "network.blocks.0.dropout"), ("/metadata/a~1b~0c", "metadata.a/b~c"), ("", "")],
)
def test_a_field_is_named_as_in_the_option_set(pointer, path):
    assert format_setting(pointer) == path
