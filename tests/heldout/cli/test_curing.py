"""`heldout cure`: what it orders, what it says, and how it ends; the service is real, its worker is played by hand."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys

import pytest

from heldout.cli.outcome import Exit
from heldout.stored.gap import PairedTally, PixelsUndone, Tally
from tests.heldout.served import GAP, PATIENCE_S, SPEC

# The copies in `digits` are not known here, so that no folds can be cut.
FIXED = ("--splits", "fixed")


@pytest.fixture
def ended(service, client):
    """A job that has succeeded."""
    job_id = client.jobs.create(SPEC).id
    held = service.begin(job_id)
    service.measure(held, 1)
    service.measure(held, 2)
    service.succeed(held)
    return job_id


@pytest.fixture
def faulty(service, client):
    """A job that has succeeded on data with a fault that is sure: its test images are inverted."""
    job_id = client.jobs.create(SPEC).id
    held = service.begin(job_id)
    service.measure(held, 1)
    wrong = Tally(count=300, correct=60, loss=2.0, loss_variance=0.1)
    undone = PixelsUndone(
        choices=("inversion", "inversion"),
        parameters=({}, {}),
        tally=GAP.test,
        change=PairedTally(count=300, gained=225, lost=0, loss=-1.84, loss_variance=0.1),
    )
    service.succeed(held, gap=GAP.model_copy(update={"test": wrong, "pixels": undone}))
    return job_id


def only_study(client):
    [study] = client.studies.list()
    return study


def test_a_study_is_ordered_as_the_options_say_and_its_id_printed(heldout, client, ended):
    asked = (
        "--remedies",
        "dropout, l2,dropout+l2",
        "--seeds",
        "2",
        *FIXED,
        "--objective",
        "loss",
        "--budget-jobs",
        "40",
    )
    result = heldout("cure", ended, *asked, "--detach")
    study = only_study(client)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{study.id}\n", "")
    assert study.remedies == ["dropout", "l2", "dropout+l2"]
    assert (study.job, study.seeds, study.splits, study.budget.jobs) == (ended, 2, "fixed", 40)
    assert study.objective == "loss"


def test_a_dry_run_says_what_it_would_be_and_orders_nothing(heldout, client, ended):
    said = heldout("cure", ended, "--remedies", "dropout,l2", *FIXED, "--dry-run").stdout
    assert "remedies: dropout, l2" in said
    assert "9 trainings for the first look at 3 seeds each" in said
    told = json.loads(heldout("cure", ended, *FIXED, "--dry-run", "--json").stdout)
    assert told["object"] == "study_estimate"
    assert "retune" in told["remedies"]  # as auto chooses
    assert list(client.studies.list()) == []


def test_what_cannot_be_measured_is_refused_with_2(heldout, client, ended):
    for remedies, said in (("prayer", "There is no remedy 'prayer'"), ("dropout,", "names with commas")):
        result = heldout("cure", ended, "--remedies", remedies, *FIXED)
        assert (result.returncode, result.stdout) == (Exit.REFUSED, "")
        assert said in result.stderr
    assert heldout("cure", "job_none").returncode == Exit.REFUSED
    assert list(client.studies.list()) == []


def test_data_that_come_first_are_refused_with_the_command_that_fixes_them(heldout, client, faulty):
    refused = heldout("cure", faulty, *FIXED)
    dataset = client.jobs.get(faulty).dataset.id
    command = ["heldout", "datasets", "fix", dataset, "--pixel-values", "test=invert"]
    assert refused.returncode == Exit.REFUSED
    assert shlex.join(command) in refused.stderr
    told = json.loads(heldout("cure", faulty, *FIXED, "--json").stdout)
    assert (told["code"], told["status"]) == ("data_first", 409)
    assert told["request"] == {
        "method": "POST",
        "path": f"/v1/datasets/{dataset}/versions",
        "body": {"pixel_values": {"test": "invert"}},
    }
    assert list(client.studies.list()) == []


def test_a_cancelled_study_ends_with_3_and_ctrl_c_leaves_it_running(environment, tmp_path, client, ended):
    def follow(*options):
        arguments = [sys.executable, "-m", "heldout", "cure", ended, "--remedies", "dropout", *FIXED, *options]
        return subprocess.Popen(
            arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with follow("--yes") as process:
        assert process.stdout.readline().startswith("started: ")
        study = only_study(client)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == Exit.INTERRUPTED
    assert f"`heldout studies {study.id} --watch` shows it again" in said
    assert client.studies.get(study.id).status == "running"
    client.studies.cancel(study.id)
    with follow("--json") as process:
        assert json.loads(process.stdout.readline())["type"] == "study.started"
        [study] = client.studies.list(statuses=["running"])
        client.studies.cancel(study.id)
        told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == Exit.CANCELLED
    lines = [json.loads(line) for line in told.splitlines()]
    assert (lines[-1]["object"], lines[-1]["status"]) == ("study", "cancelled")
    assert "study.cancelled" in [line.get("type") for line in lines]


def test_a_diagnosis_names_the_command_where_a_study_can_cure_it(heldout, service, client):
    job_id = client.jobs.create(SPEC | {"training": {"epochs": 40}}).id
    held = service.begin(job_id)
    for number in range(1, 41):
        turned = 0.5 + 0.02 * abs(number - 8)
        service.measure(held, number, train_loss=2 / number, validation_loss=turned)
    service.succeed(held)
    assert client.jobs.diagnosis(job_id).verdict in {"overfitting", "overconfidence"}
    for command in ("diagnose", "show"):
        assert f"`heldout cure {job_id}` measures what cures that" in heldout(command, job_id).stdout
    assert "heldout cure" not in heldout("diagnose", job_id, "--json").stdout


def test_data_that_come_first_are_shown_fixed_or_left_as_they_are(heldout, client, faulty):
    shown = heldout("cure", faulty, "--show")
    dataset = client.jobs.get(faulty).dataset.id
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"/datasets/{dataset}#images" in shown.stdout
    assert list(client.studies.list()) == []
    both = heldout("cure", faulty, "--fix", "--anyway")
    assert (both.returncode, "exclude each other" in both.stderr) == (Exit.REFUSED, True)

    heldout("cure", faulty, *FIXED, "--remedies", "dropout", "--anyway", "--detach")
    study = only_study(client)
    assert (study.waits_for, study.job, study.dataset.id) == (None, faulty, dataset)
    client.studies.cancel(study.id)

    waiting = heldout("cure", faulty, *FIXED, "--remedies", "dropout", "--fix", "--detach").stdout.strip()
    study = client.studies.get(waiting)
    assert "is being made" in study.waits_for
    assert study.dataset.id != dataset
    assert f"waits: {study.waits_for}" in heldout("studies", waiting).stdout


def test_on_a_terminal_it_asks_what_to_do_about_the_data(environment, tmp_path, client, faulty):
    """Shows the images first, then continues with the data as they are."""
    command = [sys.executable, "-m", "heldout", "cure", faulty, "--remedies", "dropout", *FIXED]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = answered(ours, {"What next? [1]:": ["1", "3"], "Start it? [Y/n]:": ["n"]})
        assert process.wait(PATIENCE_S) == 0, said
    assert "Fix the data and continue" in said
    assert "Their pictures: http" in " ".join(said.split())
    assert list(client.studies.list()) == []


def answered(terminal: int, answers: dict[str, list[str]]) -> str:
    """All that a program says on a terminal, whose questions are answered in their order."""
    said, seen = "", 0
    while True:
        try:
            part = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # it has ended
            return said
        if not part:
            return said
        said += part
        for question, given in answers.items():
            if given and question in said[seen:]:
                seen = len(said)
                os.write(terminal, f"{given.pop(0)}\n".encode())
