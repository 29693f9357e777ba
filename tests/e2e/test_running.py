"""`heldout cure --run`: compares a user's own script, and a killed command continues where it was."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from heldout.cli import main
from heldout.cli.running.training import SECRETS
from heldout.client.client import Client
from heldout.service.settings import Settings
from tests.e2e.running import ROOT, Service, children_of, lives, processes_of, until

# It trains without a framework: nearest means of noisy points. Its parameter changes the noise.
SCRIPT = """
import argparse, json, os, pathlib, time
import numpy as np

read = argparse.ArgumentParser()
for name in ("seed", "noise", "out", "pause"):
    read.add_argument(f"--{name}")
args = read.parse_args()
journal = pathlib.Path("journal")
with journal.open("a") as file:
    file.write(f"begin {args.noise} {args.seed} {os.getpid()}\\n")
time.sleep(float(args.pause))
hold = pathlib.Path("hold")  # while it exists, it says after how many trainings the next ones wait
if hold.exists() and journal.read_text().count("end") >= int(hold.read_text()):
    with journal.open("a") as file:
        file.write(f"hold {args.noise} {args.seed} {os.getpid()}\\n")
    while hold.exists():
        time.sleep(0.05)
data, draw = np.random.default_rng(0), np.random.default_rng(int(args.seed))
means = data.normal(size=(4, 8))
answers = {}
for split, count in (("train", 200), ("validation", 300), ("test", 300)):
    labels = data.integers(0, 4, count)
    images = means[labels] + data.normal(size=(count, 8))
    if split == "train":
        seen = images + float(args.noise) * draw.normal(size=images.shape)
        learned = np.stack([seen[labels == place].mean(axis=0) for place in range(4)])
    outputs = -((images[:, None] - learned) ** 2).sum(axis=2) / 2
    odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    answers |= {f"{split}_labels": labels, f"{split}_probabilities": odds / odds.sum(axis=1, keepdims=True)}
np.savez(args.out, **answers)
history = {"loss": [1.5, 0.5], "val_loss": [1.6, 0.6]}
pathlib.Path(args.out).with_suffix(".history.json").write_text(json.dumps(history))
print("trained on", os.environ.get("CUDA_VISIBLE_DEVICES"))
print("secrets:", [name for name, text in os.environ.items() if text == "secret://a b"])
with journal.open("a") as file:
    file.write(f"end {args.noise} {args.seed} {os.getpid()}\\n")
"""
ARMS = ("--arm", "base:noise=25", "--arm", "calm:noise=0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(SCRIPT)
    yield tmp_path
    for pid in processes_of(tmp_path):  # of a test that failed
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command(pause_s: float = 0.0) -> str:
    python = shlex.quote(sys.executable)
    return f"{python} train.py --seed {{seed}} --noise {{noise}} --out {{out}} --pause {pause_s}"


def begin(service: Service | None, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    where = ["--embedded"] if service is None else ["--home", str(service.home)]
    return subprocess.Popen(
        [sys.executable, "-m", "heldout", "cure", *arguments, *where],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(service: Service | None, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    process = begin(service, folder, *arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def read_journal(folder: Path, what: str) -> list[tuple[str, str, int]]:
    file = folder / "journal"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(noise, seed, int(pid)) for verb, noise, seed, pid in lines if verb == what]


def test_a_script_is_compared_and_its_answers_curves_and_logs_are_kept(service, client, folder, monkeypatch):
    secrets = {f"HELDOUT_{name.upper()}" for name, field in Settings.model_fields.items() if "Secret" in str(field)}
    assert {"HELDOUT_API_KEY", *secrets} == SECRETS
    for name in (*secrets, "HELDOUT_API_KEY", "TOKEN_OF_THE_SCRIPT"):
        monkeypatch.setenv(name, "secret://a b")
    ended = run(service, folder, "--run", command(), *ARMS, "--jobs", "2", "--objective", "accuracy")
    assert ended.returncode == 0, ended.stderr
    study = next(study for study in client.studies.list() if study.kind == "external")  # the newest
    assert (study.status, study.conclusion.kind, study.conclusion.remedy) == ("succeeded", "cure", "calm")
    assert study.conclusion.headline == "Calm improves accuracy."
    assert study.conclusion.headline in ended.stdout
    assert study.conclusion.test is not None
    runs = [run for run in client.studies.runs(study.id) if run.status == "succeeded"]
    assert {run.attempts for run in runs} == {1}
    assert all(run.seconds > 0 and run.splits.keys() == {"train", "validation", "test"} for run in runs)
    assert client.studies.diagnose_run(study.id, runs[0].id).explanation
    kept = folder / "heldout-runs" / study.id
    log = (kept / "base-seed0.log").read_text()
    assert "trained" in log
    assert "secrets: ['TOKEN_OF_THE_SCRIPT']" in log
    trained = len(read_journal(folder, "begin"))
    again = run(service, folder, "--run", command(), *ARMS, "--jobs", "2", "--objective", "accuracy")
    assert (again.returncode, study.conclusion.headline in again.stdout) == (0, True)
    assert len(read_journal(folder, "begin")) == trained


@pytest.mark.proof
def test_a_study_in_one_file_survives_kills_and_a_move(folder):
    # Nine trainings: at most six end before the third kill, so that two are always left to wait.
    arguments = ("--run", command(), *ARMS, "--arm", "other:noise=24", "--jobs", "2", "--json")
    file, log = folder / "heldout-studies.sqlite", folder / "heldout-runs" / "service.log"

    def begin_and_hold() -> "subprocess.Popen[str]":
        """Run some trainings until two others wait, so that all results are sent."""
        (folder / "hold").write_text(str(len(read_journal(folder, "end")) + 1))
        process = begin(None, folder, *arguments)
        until(lambda: sum(lives(pid) for _, _, pid in read_journal(folder, "hold")) == 2, "two trainings that wait")
        return process

    def find_service(process: "subprocess.Popen[str]") -> int:
        [pid] = [pid for pid in children_of(process.pid) if os.readlink(f"/proc/{pid}/fd/1") == str(log)]
        return pid

    def kill(process: "subprocess.Popen[str]", *pids: int) -> str:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        err = process.communicate(timeout=240)[1]
        until(lambda: not processes_of(folder), "the end of its processes")
        return err

    process = begin_and_hold()
    kill(process, find_service(process), process.pid)
    assert file.with_name(f"{file.name}-wal").exists()  # nothing had time to tidy up
    process = begin_and_hold()
    kill(process, process.pid)
    assert not file.with_name(f"{file.name}-wal").exists()  # its service ended in order
    process = begin_and_hold()
    said = kill(process, find_service(process))
    assert f"the service of this command has ended. Its log: {log.relative_to(folder)}" in said
    assert process.returncode == 130
    (folder / "hold").unlink()
    last = run(None, folder, *arguments)
    assert last.returncode == 0, last.stderr
    study = json.loads(last.stdout.splitlines()[-1])
    assert (study["status"], study["conclusion"]["remedy"]) == ("succeeded", "calm")
    pairs = [pair[:2] for pair in read_journal(folder, "end")]
    assert len(pairs) == len(set(pairs)) == study["progress"]["done"]  # no result was lost
    assert not processes_of(folder)
    assert sorted(os.listdir(folder)) == ["heldout-runs", file.name, "journal", "train.py"]
    assert sorted(os.listdir(log.parent)) == [log.name, study["id"], "studies.json"]
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)  # the last command's

    moved = folder / "moved"
    moved.mkdir()
    shutil.copy(file, moved)
    shown = run(None, moved, *arguments)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout.splitlines()[-1]) == study
    assert study["conclusion"]["headline"] in (moved / "heldout-runs" / study["id"] / "report.html").read_text()
    assert read_journal(moved, "begin") == []


def test_one_command_at_a_time_uses_a_file_and_ctrl_c_ends_its_service(folder):
    arguments = ("--run", command(pause_s=120), *ARMS)
    first = begin(None, folder, *arguments)
    until(lambda: read_journal(folder, "begin"), "a training")
    second = run(None, folder, *arguments)
    assert second.returncode == 2
    assert "Another command uses heldout-studies.sqlite now." in second.stderr
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=240)
    assert (first.returncode, "The same command continues where it was" in err) == (130, True)
    assert not processes_of(folder)
    assert [name for name in os.listdir(folder) if name.startswith("heldout-studies")] == ["heldout-studies.sqlite"]


def test_a_service_that_cannot_start_is_reported_with_its_reason(folder):
    (folder / "heldout-studies.sqlite").write_bytes(b"SQLite format 3\0, and no tables")
    refused = run(None, folder, "--run", command(), *ARMS)
    assert refused.returncode == 2
    assert "The service of this command did not start: heldout: The database does not answer" in refused.stderr


def test_a_training_over_its_limit_fails_and_the_study_says_why(service, client, folder):
    ended = run(service, folder, "--run", command(pause_s=60), *ARMS, "--timeout", "1")
    assert ended.returncode == 1
    assert "base, seed 0: It took longer than the limit of 1 s." in ended.stderr
    assert "base_failed" in ended.stdout
    greedy = f"{shlex.quote(sys.executable)} -c 'bytearray(10**9)' {{seed}} {{noise}} {{out}}"
    refused = run(service, folder, "--run", greedy, *ARMS, "--memory", "0.2")
    assert refused.returncode == 1
    assert "MemoryError" in refused.stderr


def test_answers_that_cannot_be_compared_end_the_command_and_not_the_study(service, client, folder):
    script = folder / "train.py"
    for right, wrong, message in (
        ("odds / odds.sum(axis=1, keepdims=True)", "outputs", "base, seed 0"),
        ("default_rng(int(args.seed))", "default_rng(0)", "the seed changed nothing"),
    ):
        assert right in SCRIPT
        script.write_text(SCRIPT.replace(right, wrong))
        refused = run(service, folder, "--run", command(), *ARMS)
        assert refused.returncode == 2
        assert message in refused.stderr
    script.write_text(SCRIPT)
    assert run(service, folder, "--run", command(), *ARMS).returncode == 0


def test_concurrent_trainings_get_separate_gpus_and_each_seed_its_fold(service, client, folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    text = command(pause_s=0.2).replace("--seed {seed}", "--seed {seed}{fold}")
    ended = run(service, folder, "--run", text, *ARMS, "--jobs", "2", "--splits", "resampled")
    assert ended.returncode == 0, ended.stderr
    [logs] = [path for path in (folder / "heldout-runs").iterdir() if path.is_dir()]
    used = {line for file in logs.glob("*.log") for line in file.read_text().splitlines() if line.startswith("trained")}
    assert used == {"trained on 3", "trained on 5"}
    assert {seed for _, seed, _ in read_journal(folder, "begin")} >= {"00", "11", "22"}


def test_two_commands_on_one_study_share_its_trainings(service, client, folder):
    first = begin(service, folder, "--run", command(pause_s=0.5), *ARMS)
    [study] = until(lambda: list(client.studies.list(statuses=["running"])), "the study")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.py").write_text(SCRIPT)
    second = run(service, elsewhere, study.id, "--run", command(pause_s=0.5))
    assert (second.returncode, first.wait(timeout=240)) == (0, 0), second.stderr
    here, there = read_journal(folder, "end"), read_journal(elsewhere, "end")
    assert here
    assert there
    pairs = [pair[:2] for pair in (*here, *there)]
    assert len(pairs) == len(set(pairs))
    first.communicate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--run", "sh t.py {seed} {out} {dropuot}", "--arm", "base:dropout=0", "--arm", "x:dropout=1"),
            "{dropuot}",
        ),
        (("--run", "sh t.py {seed} {out}", "--arm", "base:p=0", "--arm", "x:p=1"), "no {p}"),
        (("--run", "sh t.py {out} {p}", "--arm", "base:p=0", "--arm", "x:p=1"), "no {seed}"),
        (("--run", "sh t.py {seed} {p}", "--arm", "base:p=0", "--arm", "x:p=1"), "no {out}"),
        (("--run", "sh t.py {seed} {out} {p}", "--arm", "base", "--arm", "x:p=1"), "'base' has no value"),
        (("--run", "nothing-like-it {seed} {out}", "--arm", "base", "--arm", "x"), "no program"),
        (("--run", "sh 't.py", "--arm", "base", "--arm", "x"), "--run: No closing quotation"),
        (("--run", "sh t.py {seed} {out}", "--arm", "base"), "at least two"),
        (("--run", "sh t.py {seed} {out}", "--arm", "base:seed=1", "--arm", "x:seed=2"), "Rename it"),
        (("--run", "sh t.py {seed} {out}", "--arm", "base:p", "--arm", "x"), "NAME:PARAMETER=VALUE"),
        (("--run", "sh t.py {seed} {out}", "--arm", "base", "--arm", "x", "--remedies", "l2"), "--remedies"),
        (("--run", "sh t.py {seed} {out}", "--arm", "first", "--arm", "x"), "name it `base`"),
        (("std_1", "--run", "sh t.py {seed} {out}", "--again"), "--again starts a new study, and std_1 names one"),
        (("--jobs", "2"), "means nothing without --run"),
        ((), "Name the job to cure"),
    ],
)
def test_a_faulty_command_is_refused_before_anything_runs(
    service, client, folder, arguments, message, monkeypatch, capsys
):
    before = len(list(client.studies.list()))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["heldout", "cure", *arguments, "--home", str(service.home)])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert len(list(client.studies.list())) == before


def test_values_become_arguments_and_never_reach_a_shell(service, folder):
    arms = ("--arm", "base:text=$(touch hacked); rm {seed},flag=", "--arm", "x:text=a b,flag=--augment")
    line = "echo {text} {flag} {{kept}} {seed} {out}"
    shown = run(service, folder, "--run", line, *arms, "--dry-run").stdout.splitlines()
    [base, other] = [shlex.split(line) for line in shown]
    assert base == ["echo", "$(touch hacked); rm {seed}", "{kept}", "0", base[-1]]
    assert other == ["echo", "a b", "--augment", "{kept}", "0", base[-1]]


def test_a_study_of_another_client_runs_in_a_loop_of_python(service, client: Client):
    study = client.studies.external(arms={"base": {"shift": 0.0}, "better": {"shift": 1.0}}, seeds=3)
    labels = np.random.default_rng(0).integers(0, 3, 200)
    for training in study:
        with training:
            noise = np.random.default_rng(training.seed)
            outputs = noise.normal(size=(200, 3)) + (1 + training.parameters["shift"]) * np.eye(3)[labels]
            answers = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
            training.tell(
                validation=(labels, answers),
                test=(labels, answers),
                history={"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]},
            )
    assert study.conclusion.headline
    assert study.conclusion.remedy == "better"
