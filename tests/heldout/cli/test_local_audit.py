"""`heldout datasets audit` with local files: a bounded process audits them, and nothing is stored."""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from heldout.cli import host_commands
from heldout.stored.audit import StoredAudit, audit_key
from models.database import db_now
from models.ids import make_id
from models.tables import DatasetRow
from tests.heldout.served import PATIENCE_S, bare_environment, run_apart, until
from worker.ingest.__main__ import main

LEAK = "critical: leakage: 1 of 17 test images (6%) also appears in the training set."


@pytest.fixture
def pets(tmp_path):
    """A folder with splits; one of its test images is one of its training images."""
    folder, draws = tmp_path / "pets", np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 8)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 255, (12, 12), np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    (folder / "test" / "dog" / "copy.png").write_bytes((folder / "train" / "dog" / "5.png").read_bytes())
    return folder


@pytest.fixture
def temporary(tmp_path):
    """A folder for the temporary files of a process."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("pets")
def test_a_folder_is_audited_without_a_service_and_leaves_no_files(tmp_path, temporary):
    environment = bare_environment(tmp_path) | {"TMPDIR": str(temporary)}
    result = run_apart(tmp_path, environment, "datasets", "audit", "pets")
    assert (result.returncode, result.stderr) == (0, "")
    size, classes, headline, _, _, cut, *rest = result.stdout.splitlines()
    assert size == "pets  12×12×1, 2 classes, 54 train / 6 validation / 17 test"
    assert headline == "One test image was copied from training."
    assert (classes, cut) == ("classes: cat, dog", "validation split cut from the training images at random")
    assert any(line.startswith(LEAK) for line in rest)
    assert "  train train/dog/5.png = test test/dog/copy.png" in rest
    # The text is wrapped. What is asked, and the page of the manual that explains it:
    asked = " ".join("".join(f"{line} " for line in rest).split())
    assert "Do some of these images belong together, such as several of one person, object or scene?" in asked
    assert "such images can be in training and in validation" in asked
    assert "See docs/how-to/datasets.md#images-that-belong-together." in asked
    assert list(temporary.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"pets", "temporary"}


@pytest.mark.usefixtures("pets")
def test_an_interrupted_audit_leaves_no_files(tmp_path, temporary):
    for ended_by in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-m", "heldout", "datasets", "audit", "./pets"],
            cwd=tmp_path,
            env=bare_environment(tmp_path) | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: list(temporary.glob("heldout-audit-*/dataset")), "an audit")
        process.send_signal(ended_by)
        assert process.wait(PATIENCE_S) in {128 + signal.SIGTERM, 130}
        assert list(temporary.iterdir()) == []


def test_json_contains_the_audit_and_the_splits(pets, capsys):
    assert main(["--spec", '{"name": "local", "splits": {"existing": "merge"}}', "--json", str(pets)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["object"], found["dataset"], found["classes"]) == ("audit", None, ["cat", "dog"])
    assert sum(split["count"] for split in found["splits"].values()) == 77
    assert "leakage" not in {finding["code"] for finding in found["findings"]}


def test_a_rejection_is_reported_as_after_a_push(tmp_path, capsys):
    (tmp_path / "pets.zip").write_bytes(b"no archive")
    (tmp_path / "empty").mkdir()
    assert main(["--spec", '{"name": "local"}', "--json", str(tmp_path / "pets.zip")]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["error"]["code"] == "not_an_archive"
    assert "rejected: not_an_archive: " in output.err
    assert main(["--spec", '{"name": "local"}', str(tmp_path / "empty")]) == 2
    assert "has no files" in capsys.readouterr().err


@pytest.mark.usefixtures("pets")
def test_an_ambiguous_name_means_the_dataset_and_says_how_to_choose(heldout, service):
    split = {"count": 1, "per_class": [1, 0]}
    with service.database.write() as session:
        row = DatasetRow(id=make_id("ds"), owner="me", name="pets", version=1, status="ready", created_at=db_now())
        row.sha256, row.classes = "a" * 64, ["cat", "dog"]
        session.add(row)
        key = audit_key(row.id)
    splits = dict.fromkeys(("train", "validation", "test"), split)
    stored = StoredAudit(sha256="a" * 64, splits=splits, statistics={}, findings=(), checks={}, source={})
    service.blobs.put(key, stored.to_bytes())
    result = heldout("datasets", "audit", "pets")
    assert result.returncode == 0
    assert result.stdout.startswith("The audit found nothing.\nThere are no copies")
    assert "./pets" in result.stderr
    refused = heldout("datasets", "audit", "pets", "--merge")
    assert refused.returncode == 2
    assert "Options are only for files" in refused.stderr


def test_a_missing_file_or_dataset_is_reported(heldout):
    result = heldout("datasets", "audit", "./pets")
    assert (result.returncode, result.stderr) == (2, "heldout: ./pets: there is no such file or folder.\n")
    assert heldout("datasets", "audit", "nowhere").returncode == 2  # no such dataset either


@pytest.mark.usefixtures("pets")
def test_a_client_without_the_server_says_what_to_install(heldout, monkeypatch):
    monkeypatch.setattr(host_commands, "find_spec", lambda name: None if name == "PIL" else find_spec(name))
    result = heldout("datasets", "audit", "./pets")
    assert result.returncode == 2
    assert "PIL, which is not installed" in result.stderr
    assert "pip install" in result.stderr
