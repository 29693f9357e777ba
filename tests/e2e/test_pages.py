"""Everything that README, tutorial and how-to pages tell readers to type works on one small service.

A comment `<!-- not run: why -->` before a block keeps it from being run; its syntax is still checked. Ids on the pages
are replaced by those of this service, and what would take minutes is shortened.
"""

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits
from standardwebhooks import Webhook

from heldout.client.client import Client
from heldout.errors import JobFinished, StudyFinished
from tests.e2e.running import ROOT, Service
from tests.pages import Block, blocks_of, pages_with_commands

PAGES = pages_with_commands()
RUN = {"console", "sh", "python"}
SPEC = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 4}]},
    "training": {"epochs": 1, "seed": 1, "precision": "float32"},
    "resources": {"towers": 1},
}
# Histories that libraries have written, under the names that they give them.
RECORDED = {
    "results.csv": "ultralytics_classify.csv",
    "runs/classify/train/results.csv": "ultralytics_classify.csv",
    "lightning_logs/version_0/metrics.csv": "lightning_metrics.csv",
    "out/checkpoint-30/trainer_state.json": "hugging_face_trainer_state.json",
    "history.json": "keras_history.json",
    "training.csv": "keras_training.csv",
    "curves": "keras_tensorboard",
    "wandb_history.csv": "wandb_history.csv",
    "wandb/offline-run-20261202_101500-a1b2c3d4/run-a1b2c3d4.wandb": "offline.wandb",
}
# Commands whose answers do not depend on the service: what the page shows is what they print.
SHOWN = re.compile(r"heldout (?:diagnose|check-data) \S+[./]")
# What a page says, and what is run instead. Nothing else is changed.
SHORTER = (
    (r"training\.epochs=\d+", "training.epochs=1"),
    (r'"epochs": \d+}', '"epochs": 1}'),
    (r"\bepochs=\d+", "epochs=1"),
    (r'"filters": 32}\]}}', '"filters": 4}]}, "training": {"epochs": 1, "seed": 1}}'),
    (r"--epochs 20", "--epochs 2"),
    (r"(heldout (?:cure|curve) (?!--)\S+)", r"\1 --dry-run"),
    (r"(heldout cure) (--run)", r"\1 --dry-run \2"),
    (r"job\.cure\(\)", "job.cure(['dropout'], seeds=2, wait=False)"),
    # The search takes a minute; its help still shows that its arguments and options exist.
    (r"(heldout datasets suspects \S+(?: --\S+ \S+)?)", r"\1 --help"),
    (r"^\. \.venv/bin/activate$", "true"),
    (r"^heldout up .*$", "true"),
    (r"/v1/studies -H", "/v1/studies?dry_run=true -H"),
    (r"(studies/\S+)\?wait=60", r"\1?wait=1"),
    (r"curl -N", "curl -N --max-time 2"),
    (r"\[…\]", "[1.0, 0.5]"),
    (r"2027-01-01T00:00:00Z", (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT00:00:00Z")),
)


@dataclass
class Reader:
    """A reader who follows a page, in a folder that has what the pages assume."""

    folder: Path
    service: Service
    client: Client
    job: str
    study: str
    dataset: str

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")}
        key = (self.service.home / "api-key").read_text().strip()
        return kept | {
            "HOME": str(self.service.home.parent),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "URL": self.service.url,
            "AUTH": f"Authorization: Bearer {key}",
            "auth": f"Authorization: Bearer {key}",
            "HELDOUT_API_KEY": key,
            "HELDOUT_URL": self.service.url,
            "COLUMNS": "200",
        }

    def typed(self, text: str) -> str:
        """Return the text of a page as this reader has to type it."""
        for pattern, instead in SHORTER:
            text = re.sub(pattern, instead, text, flags=re.MULTILINE)
        text = re.sub(r"job_[0-9a-z]+…?|\b(?:NEW_)?JOB\b", self.job, text)
        text = re.sub(r"std_[0-9a-z]+…?|\bSTUDY\b", self.study, text)
        text = re.sub(r"\bds_[0-9a-z]+…?", self.dataset, text)
        text = re.sub(r"(http://)?(localhost|127\.0\.0\.1):8000", self.service.url, text)
        return text.replace("/backups/", f"{self.folder}/backups/").replace("pets@2", "pets@1")

    def shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", self.typed(command)],
            cwd=self.folder,
            env=self.environment,
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        stopped_by_us = done.returncode == 28 and "--max-time" in self.typed(command)
        assert done.returncode == 0 or stopped_by_us, f"{command}\n{done.stdout}\n{done.stderr}"
        if "/v1/datasets" in command:  # a page continues with what the command before has made
            self.dataset = next(iter(re.findall(r'"id": ?"(ds_\w+)"', done.stdout)), self.dataset)
        return done.stdout


@pytest.fixture(scope="module")
def first_reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    home, folder = tmp_path_factory.mktemp("reader"), tmp_path_factory.mktemp("desk")
    service = Service(home / ".heldout").start()
    _fill(folder)
    with service.client() as client:
        pets = client.datasets.push(folder / "pets")
        job = client.jobs.poll(client.jobs.create(SPEC).id)
        while not job.has_ended:
            job = client.jobs.poll(job.id)
        assert job.status == "succeeded"
        study = client.studies.create({"job": job.id, "remedies": ["dropout"], "seeds": 2})
        client.studies.cancel(study.id)
        yield Reader(folder, service, client, job.id, study.id, pets.id)
    service.close()


@pytest.fixture
def reader(first_reader: Reader, tmp_path: Path) -> Iterator[Reader]:
    """A reader for each page, whose folder no other page has changed."""
    shutil.copytree(first_reader.folder, tmp_path / "desk", symlinks=True)
    yield replace(first_reader, folder=tmp_path / "desk")
    # What a page left running would take the processor from the next pages.
    client = first_reader.client
    for study in client.studies.list(statuses=["running"]):
        with suppress(StudyFinished):  # since it was listed
            study.cancel()
    for job in client.jobs.list(statuses=["queued", "running"]):
        with suppress(JobFinished):
            client.jobs.cancel(job.id)


def _fill(folder: Path) -> None:
    """Write images, a table of labels, predictions, a history, and the command `heldout`."""
    digits = load_digits()
    for number in range(600):
        label, split = int(digits.target[number]), ("train", "train", "train", "validation", "test")[number % 5]
        if label < 3:
            path = folder / "pets" / split / "abc"[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.kron(digits.images[number] * 15, np.ones((4, 4))).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    original = next((folder / "pets/train/a").iterdir())
    shutil.copy(original, folder / "pets/test/a/copy.png")
    (folder / "images").mkdir()
    rows = ["file,label"]
    for path in sorted((folder / "pets").rglob("*.png"))[:4]:
        (folder / "images" / path.name).write_bytes(path.read_bytes())
        rows.append(f"{path.name},{path.parent.name}")
    (folder / "labels.csv").write_text("\n".join(rows))
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "pets.zip", "pets"], cwd=folder, check=True)
    Image.fromarray(digits.images[7].astype(np.uint8)).save(folder / "seven.png")
    np.save(folder / "batch.npy", digits.images[:3, :, :, np.newaxis].astype(np.uint8))
    generator, arrays = np.random.default_rng(1), {}
    for split, count in {"train": 60, "validation": 30, "test": 30}.items():
        arrays[f"{split}_labels"] = generator.integers(0, 2, count)
        arrays[f"{split}_probabilities"] = generator.dirichlet([1, 1], count)
    np.savez(folder / "predictions.npz", **arrays)
    (folder / "history.csv").write_text("epoch,loss,val_loss\n1,1.0,1.1\n2,0.5,0.9\n3,0.2,1.0\n")
    _fill_with_runs(folder)
    for name, recorded in RECORDED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        found = ROOT / "tests" / "heldout" / "histories" / "files" / recorded
        (shutil.copytree if found.is_dir() else shutil.copyfile)(found, folder / name)
    (folder / "examples").mkdir()
    for example in (ROOT / "examples").glob("*.json"):
        (folder / "examples" / example.name).write_text(_shrink(example.read_text()))
    (folder / "bin").mkdir()
    for name, starts in {"heldout": ["-c", "from heldout.cli import main; main()"], "python": []}.items():
        words = " ".join([f'"{sys.executable}"', *(f"'{start}'" for start in starts)])
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / "bin" / name).chmod(0o755)


def _shrink(spec: str) -> str:
    """Make an example spec quick to train: few filters and units, few images, one epoch."""
    small = re.sub(r'"(filters|units)": \d+', r'"\1": 4', re.sub(r'"train_limit": \d+,\s*', "", spec))
    return re.sub(r'"epochs": \d+', '"epochs": 1, "train_limit": 60', small)


def _fill_with_runs(folder: Path) -> None:
    """Write runs of two arms: as files of answers, as histories, in two tables, and in MLflow's database."""
    labels, random = np.arange(60) % 2, np.random.default_rng(2)
    rows, exported = ["run,arm,seed,val_acc"], ["Name,dropout,seed,val_acc,epoch"]
    (folder / "runs").mkdir()
    for arm, dropout in (("base", 0.0), ("dropout", 0.3)):
        for seed in range(3):
            answers = {"validation_labels": labels, "validation_probabilities": random.dirichlet([1, 1], len(labels))}
            np.savez(folder / "runs" / f"{arm}-{seed}.npz", **answers)
            rows.append(f"r{seed},{arm},{seed},0.8{seed}")
            exported.append(f"r{seed},{dropout},{seed},0.8{seed},9")
            log = folder / "logs" / f"{arm}-{seed}" / "metrics.csv"
            log.parent.mkdir(parents=True)
            log.write_text(f"epoch,loss,val_loss\n1,1.0,1.1\n2,0.5,0.9{seed}\n")
    (folder / "runs.csv").write_text("\n".join(rows))
    (folder / "wandb_export.csv").write_text("\n".join(exported))
    recorded = ROOT / "tests" / "heldout" / "histories" / "files" / "mlflow_experiment.sql"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.executescript(recorded.read_text())


# Examples leave a client open, because a reader's program ends after them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_that_a_page_tells_readers_to_type_works(page: Path, reader: Reader) -> None:
    names = _names(reader)
    for block in blocks_of(page):
        if block.not_run is not None or block.language not in RUN:
            continue
        if block.language == "python":
            names["client"] = reader.client  # an example may have opened its own
            _run_python(block, reader, names)
        elif block.language == "sh":
            reader.shell(block.text)
        else:
            for command, shown in block.commands:
                printed = reader.shell(command)
                if SHOWN.match(command):
                    assert printed.startswith(shown.partition("…")[0]), f"{command}\n{printed}"
                problem = re.search(r'"code":"(\w+)"', shown)
                assert ("urn:heldout:problem" in printed) == (problem is not None), f"{command}\n{printed}"
                assert problem is None or problem[1] in printed


def _run_python(block: Block, reader: Reader, names: dict[str, Any]) -> None:
    """Run a block as a notebook does: names last from block to block, and `await` is allowed."""
    where = f"{block.page}:{block.line}"
    code = compile(reader.typed(block.text), where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(reader.folder)
        for name in ("HELDOUT_URL", "HELDOUT_API_KEY"):
            patch.setenv(name, reader.environment[name])
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, names))
        else:
            exec(code, names)


def _names(reader: Reader) -> dict[str, Any]:
    """Return the names that the pages' Python assumes."""
    secret, body, sent = "whsec_" + b64encode(b"k" * 24).decode(), '{"type": "job.succeeded"}', datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", sent, body),
    }
    given = {"secret": secret, "request_body": body, "request_headers": headers}
    return given | {"client": reader.client, "spec": SPEC, "job": reader.client.jobs.get(reader.job)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_that_are_not_run_are_well_formed(page: Path) -> None:
    for block in blocks_of(page):
        where = f"{block.page}:{block.line}"
        if block.language == "python":
            compile(block.text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif block.language in ("sh", "console"):
            done = subprocess.run(["bash", "-n"], input=block.script, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{where}: {done.stderr}"
        elif block.language == "json":
            json.loads(block.text if block.text.lstrip().startswith("{") else f"{{{block.text}}}")
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        else:
            assert not block.language, f"{where}: nothing here knows {block.language}"
            assert not block.text.startswith(("$ ", "heldout ", "curl ")), f"{where}: commands are `console` or `sh`"
