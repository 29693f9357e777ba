"""`heldout cure`: what it requests, prints and returns. The service is real; tests play the worker."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from heldout.cli.outcome import Exit
from heldout.stored.gap import PairedTally, PixelsUndone, Tally
from heldout.words.studies import TWO_SEEDS
from tests.heldout.served import GAP, PATIENCE_S, SPEC, until

# The copies in `digits` are not known here, so no folds can be cut.
FIXED = ("--splits", "fixed")


@pytest.fixture
def faulty(service, client):
    """A job that succeeded on data with a clear fault: the test images are inverted."""
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


def get_only_study(client):
    [study] = client.studies.list()
    return study


def test_a_study_is_created_from_the_options_and_its_id_is_printed(heldout, client, ended):
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
    study = get_only_study(client)
    assert (result.returncode, result.stdout) == (0, f"{study.id}\n")
    assert result.stderr.startswith("Note: Two seeds tell nothing")
    assert study.warnings == [TWO_SEEDS]
    assert study.remedies == ["dropout", "l2", "dropout+l2"]
    assert (study.job, study.seeds, study.splits, study.budget.jobs) == (ended, 2, "fixed", 40)
    assert study.objective == "loss"


@pytest.mark.parametrize(
    ("option", "same", "other", "has"),
    [
        ("--seeds", "4", "5", "--seeds 4"),
        ("--splits", "fixed", "resampled", "--splits fixed"),
        ("--objective", "accuracy", "loss", "--objective accuracy"),
        ("--budget-jobs", "30", "31", "--budget-jobs 30"),
    ],
)
def test_what_an_existing_study_was_ordered_with_cannot_be_changed(
    heldout, client, tmp_path, monkeypatch, option, same, other, has
):
    monkeypatch.chdir(tmp_path)
    study = client.studies.external(
        {"base": {"rate": 0}, "other": {"rate": 1}}, seeds=4, objective="accuracy", budget={"jobs": 30}
    )
    command = ("cure", study.id, "--run", "true --rate {rate} --seed {seed} --out {out}")
    for asked, (was, left_out) in {
        (option, other): (has, option),
        (option, same, "--budget-seconds", "60"): ("no --budget-seconds", "--budget-seconds"),
    }.items():
        refused = heldout(*command, *asked)
        assert refused.returncode == Exit.REFUSED
        assert f"{study.id} was ordered with {was}, which cannot be changed. Leave {left_out} out." in refused.stderr


def test_a_dry_run_describes_the_study_and_creates_nothing(heldout, client, ended):
    output = heldout("cure", ended, "--remedies", "dropout,l2", *FIXED, "--dry-run").stdout
    assert "dropout, l2" in output
    assert "9 for the first look at 3 seeds each" in output
    printed = json.loads(heldout("cure", ended, *FIXED, "--dry-run", "--json").stdout)
    assert printed["object"] == "study_estimate"
    assert len(printed["remedies"]) == 3
    assert (printed["extent"], printed["jobs"], printed["max_jobs"]) == ("first", 12, 16)
    assert "retune" in printed["left_out"]  # auto chooses it, but a first answer searches nothing
    assert "It is a first answer. Continuing it would add" in heldout("cure", ended, *FIXED, "--dry-run").stdout
    full = json.loads(heldout("cure", ended, *FIXED, "--full", "--dry-run", "--json").stdout)
    assert full["remedies"] == [*printed["remedies"], *printed["left_out"]]
    assert (full["extent"], full["left_out"]) == ("full", [])
    two = heldout("cure", ended, *FIXED, "--seeds", "2", "--dry-run").stdout
    assert "Note: Two seeds tell nothing" in two
    assert list(client.studies.list()) == []


def test_a_running_study_is_not_continued_and_options_of_its_order_are_refused(heldout, client, ended):
    study_id = heldout("cure", ended, *FIXED, "--detach").stdout.strip()
    refused = heldout("cure", study_id)
    assert refused.returncode == Exit.REFUSED
    assert f"{study_id} cannot be continued: it is running" in refused.stderr
    assert "--seeds means nothing for a study to continue" in heldout("cure", study_id, "--seeds", "4").stderr
    assert "with `all` remedies left" in heldout("cure", study_id, "--remedies", "dropout").stderr


def test_the_part_of_a_gap_that_no_remedy_closes_is_named_before_a_study_starts(heldout, service, client):
    job_id = client.jobs.create(SPEC).id
    held = service.begin(job_id)
    service.measure(held, 1)
    service.succeed(
        held, gap=GAP.model_copy(update={"test": Tally(count=300, correct=180, loss=1.2, loss_variance=0.1)})
    )
    output = " ".join(heldout("cure", job_id, *FIXED, "--dry-run").stdout.split())
    assert "Note: The test images are of another kind than those of training and validation." in output
    assert "Training remedies cannot close that part of the gap (35.5 points)" in output
    assert client.jobs.get(job_id).cure(splits="fixed", wait=False).view.warnings[0].startswith("The test images are")


def test_a_study_that_cannot_be_measured_is_refused_with_2(heldout, client, ended):
    for remedies, output in (("prayer", "There is no remedy 'prayer'"), ("dropout,", "names with commas")):
        result = heldout("cure", ended, "--remedies", remedies, *FIXED)
        assert (result.returncode, result.stdout) == (Exit.REFUSED, "")
        assert output in result.stderr
    assert heldout("cure", "job_none").returncode == Exit.REFUSED
    assert list(client.studies.list()) == []


def test_faulty_data_are_refused_with_the_command_that_fixes_them(heldout, client, faulty):
    refused = heldout("cure", faulty, *FIXED)
    dataset = client.jobs.get(faulty).dataset.id
    command = ["heldout", "datasets", "fix", dataset, "--pixel-values", "test=invert"]
    assert refused.returncode == Exit.REFUSED
    assert shlex.join(command) in refused.stderr
    printed = json.loads(heldout("cure", faulty, *FIXED, "--json").stdout)
    assert (printed["code"], printed["status"]) == ("data_first", 409)
    assert printed["request"] == {
        "method": "POST",
        "path": f"/v1/datasets/{dataset}/versions",
        "body": {"pixel_values": {"test": "invert"}},
    }
    assert list(client.studies.list()) == []


def test_a_cancelled_study_exits_with_3_and_ctrl_c_leaves_it_running(heldout, environment, tmp_path, client, ended):
    arguments = ["cure", ended, "--remedies", "dropout", *FIXED]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "heldout", *arguments, "--yes"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **streams) as process:
        assert process.stdout.readline().startswith("started: ")
        study = get_only_study(client)
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == Exit.INTERRUPTED
    assert f"`heldout studies {study.id} --watch` shows it again" in output
    assert client.studies.get(study.id).status == "running"
    client.studies.cancel(study.id)

    def cancel():
        until(lambda: list(client.studies.list(statuses=["running"])), "a study")
        client.studies.cancel(next(iter(client.studies.list(statuses=["running"]))).id)

    with ThreadPoolExecutor(1) as other:
        other.submit(cancel)
        cancelled = heldout(*arguments, "--json")
    assert cancelled.returncode == Exit.CANCELLED
    lines = [json.loads(line) for line in cancelled.stdout.splitlines()]
    assert lines[0]["type"] == "study.started"
    assert (lines[-1]["object"], lines[-1]["status"]) == ("study", "cancelled")
    assert "study.cancelled" in [line.get("type") for line in lines]


def test_a_diagnosis_names_the_command_if_a_study_can_find_a_cure(heldout, service, client):
    job_id = client.jobs.create(SPEC | {"training": {"epochs": 40}}).id
    held = service.begin(job_id)
    for number in range(1, 41):
        turned = 0.5 + 0.02 * abs(number - 8)
        service.measure(held, number, train_loss=2 / number, validation_loss=turned)
    service.succeed(held)
    assert client.jobs.diagnosis(job_id).verdict in {"overfitting", "overconfidence"}
    for command in ("diagnose", "show"):
        assert f"Measure what helps: `heldout cure {job_id}`" in heldout(command, job_id).stdout
    assert "heldout cure" not in heldout("diagnose", job_id, "--json").stdout


def test_a_diagnosis_of_wrong_labels_names_the_command_that_lists_them(heldout, service, client):
    job_id = client.jobs.create(SPEC | {"training": {"epochs": 12}}).id
    held = service.begin(job_id)
    for number in range(1, 13):
        service.measure(held, number, train_accuracy=0.7, validation_accuracy=0.95)
    service.succeed(held)
    assert client.jobs.diagnosis(job_id).verdict == "label_noise"
    dataset = client.jobs.get(job_id).dataset
    for command in ("diagnose", "show"):
        search = f"`heldout datasets suspects {dataset.name}@{dataset.version} --csv fixes.csv`"
        listed = f"Look for wrong labels: {search}"
        assert listed in heldout(command, job_id).stdout


def test_a_damaged_file_of_studies_is_named_and_kept(heldout, tmp_path):
    file = tmp_path / "heldout-studies.sqlite"
    file.write_bytes(b"not a database")
    arms = ("--arm", "base:p=0", "--arm", "drop:p=1")
    refused = heldout("cure", "--embedded", "--run", "true {seed} {p} {out}", *arms)
    assert (refused.returncode, file.read_bytes()) == (Exit.REFUSED, b"not a database")
    assert "heldout-studies.sqlite is damaged, or was not written by this command." in refused.stderr


def test_faulty_data_can_be_shown_fixed_or_used_as_they_are(heldout, client, faulty):
    shown = heldout("cure", faulty, "--show")
    dataset = client.jobs.get(faulty).dataset.id
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"/datasets/{dataset}#images" in shown.stdout
    assert list(client.studies.list()) == []
    for command in ("cure", "curve"):
        both = heldout(command, faulty, "--fix", "--anyway")
        assert (both.returncode, "exclude each other" in both.stderr) == (Exit.REFUSED, True)
    assert heldout("curve", faulty, "--dry-run").returncode == Exit.REFUSED
    assert heldout("curve", faulty, "--dry-run", "--anyway").returncode == 0

    heldout("cure", faulty, *FIXED, "--remedies", "dropout", "--anyway", "--detach")
    study = get_only_study(client)
    assert (study.waits_for, study.job, study.dataset.id) == (None, faulty, dataset)
    client.studies.cancel(study.id)

    waiting = heldout("cure", faulty, *FIXED, "--remedies", "dropout", "--fix", "--detach").stdout.strip()
    study = client.studies.get(waiting)
    assert "is being made" in study.waits_for
    assert (study.dataset.id != dataset, study.data) == (True, "fix")
    assert f"waits: {study.waits_for}" in heldout("studies", waiting).stdout


@pytest.mark.parametrize(("answer", "status"), [("n", 0), ("\x04", 130)])
def test_on_a_terminal_the_command_asks_what_to_do_about_faulty_data(
    environment, tmp_path, client, faulty, answer, status
):
    """The user first looks at the images, continues with the data as they are, and then declines or presses Ctrl-D."""
    command = [sys.executable, "-m", "heldout", "cure", faulty, "--remedies", "dropout", *FIXED]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        output = answer_questions(ours, {"What next? [1]:": ["1", "3"], "Start it? [Y/n]:": [answer]})
        assert process.wait(PATIENCE_S) == status, output
    assert "Fix the data and continue" in output
    assert "Their pictures: http" in " ".join(output.split())
    assert list(client.studies.list()) == []


def answer_questions(terminal: int, answers: dict[str, list[str]]) -> str:
    """Answer a program's questions on a terminal in order, and return all that it prints."""
    output, seen = "", 0
    while True:
        try:
            part = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the program has ended
            return output
        if not part:
            return output
        output += part
        for question, given in answers.items():
            if given and question in output[seen:]:
                seen = len(output)
                os.write(terminal, f"{given.pop(0)}\n".encode())


# A network that gets more answers right with each epoch, up to 90%, and does not care for its learning rate.
GROWING = """
import sys
import numpy as np
epochs, rate, fraction, seed, out = sys.argv[1:]
share, arrays = min(0.9, 0.2 + 0.1 * int(epochs)), {}
for split, images in (("train", int(1000 * float(fraction))), ("validation", 1000), ("test", 500)):
    labels = np.arange(images) % 4
    said = np.where(np.arange(images) < share * images, labels, (labels + 1) % 4)
    arrays[f"{split}_labels"], arrays[f"{split}_probabilities"] = labels, 0.05 + 0.8 * np.eye(4)[said]
np.savez(out, **arrays)
"""


def test_the_verdict_on_a_script_is_proven_by_what_its_placeholders_can_change(heldout, tmp_path):
    (tmp_path / "train.py").write_text(GROWING)
    command = f"{sys.executable} train.py {{epochs}} {{learning_rate}} {{train_fraction}} {{seed}} {{out}}"
    arm = "base:epochs=4,learning_rate=0.1,train_fraction=1"
    found = heldout("cure", "--run", command, "--prove", "--arm", arm).stdout
    assert "Two more epochs gain 19.9 points (+" in found
    assert "Proven: ended too early." in found
    assert "its network and its images were not" in found
    fixed = f"{sys.executable} train.py 4 0.1 1 {{seed}} {{out}}"
    assert "Not tried: longer training, since --run and --arm lack {epochs}." in (
        heldout("cure", "--run", fixed, "--prove", "--arm", "base:").stdout
    )
    refused = heldout("cure", "--run", command, "--prove", "--arm", arm, "--arm", "other:epochs=1")
    assert (refused.returncode, "expects one" in refused.stderr) == (2, True)


def test_what_cannot_be_trained_again_is_said_so(heldout, tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss\n0,1,1\n1,0.5,0.9\n")
    refused = heldout("diagnose", "history.csv", "--prove")
    assert refused.returncode == 2
    assert "it cannot be trained again here" in refused.stderr
