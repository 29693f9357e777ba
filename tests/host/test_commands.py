"""The server's own commands on a command line."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from heldout.lifecycle.resources import ModelStatus
from models.database import Database
from models.store import activity, keys, models
from tests.models.work import ALICE, BOB, Work


@pytest.fixture
def run_unmade(run_on_home, tmp_path: Path):
    """Return what runs a command on a home without a database."""
    return partial(run_on_home, tmp_path)


@pytest.fixture
def run(run_unmade, sqlite_template: Path, tmp_path: Path):
    """Return what runs a command on a home with a migrated database."""
    shutil.copyfile(sqlite_template, tmp_path / "heldout.db")
    return run_unmade


def test_keys_can_be_created_listed_and_revoked_as_json(run, tmp_path):
    made = json.loads(run("keys", "create", "--owner", "zoë", "--json")[1])
    database = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    with database.read() as session:
        assert keys.find_caller(session, made["key"]).owner == "zoë"
    database.dispose()
    [listed] = json.loads(run("keys", "list", "--json")[1])["data"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert json.loads(run("keys", "revoke", made["id"], "--json")[1])["revoked"] is True
    assert json.loads(run("keys", "list", "--json")[1])["data"][0]["revoked_at"] is not None


def test_creating_a_key_prints_only_the_key(run):
    assert run("keys", "create", "--owner", "ann")[1].startswith("ho_")


def test_invalid_owner_names_are_refused(run):
    for owner in ["", " ", "x" * 129, "a\nb", "\x1b[31m"]:
        status, printed, errors = run("keys", "create", "--owner", owner)
        assert (status, printed) == (2, "")
        assert "expected 1 to 128 printable characters" in " ".join(errors.split())
        assert run("keys", "list")[1] == ""


def test_check_and_migrate_have_json_output(run):
    run("migrate")
    assert json.loads(run("migrate", "--json")[1])["datasets_added"] == []
    status, printed, _ = run("check", "--json")
    assert status == 0
    assert {part["name"] for part in json.loads(printed)["parts"]} >= {"database", "blobs", "datasets", "tensorflow"}


def test_help_names_the_program_that_was_called(run):
    assert run("check", "-h")[1].startswith("Usage: heldout check ")


# --- owners --------------------------------------------------------------------------------------


def test_managing_an_owner_is_recorded_in_its_activity_log(run, tmp_path):
    run("keys", "create", "--owner", "ann")
    [ann] = json.loads(run("owners", "list", "--json")[1])["data"]
    assert (ann["name"], ann["weight"], ann["suspended_at"], ann["own_quotas"]) == ("ann", 1.0, None, {})
    run("owners", "limit", "ann", "--weight", "2.5", "--set", "datasets=7", "--set", "streams=none")
    shown = json.loads(run("owners", "show", "ann", "--json")[1])
    assert shown["weight"] == 2.5
    allowed = {quota["quota"]: quota["allowed"] for quota in shown["quotas"]}
    assert (allowed["datasets"], allowed["streams"], allowed["keys"]) == (7, None, 100)
    run("owners", "limit", "ann", "--set", "datasets=default")
    assert json.loads(run("owners", "show", "ann", "--json")[1])["own_quotas"] == {"streams": None}
    assert "datasets: 0 of 1,000" in run("owners", "show", "ann")[1]
    assert run("owners", "suspend", "ann")[0] == 0
    assert "suspended since" in run("owners", "list")[1]
    assert run("owners", "resume", "ann")[0] == 0
    assert run("owners", "resume", "ann")[0] == 1, "it is no longer suspended"
    assert run("owners", "cancel-all", "ann")[0] == 0
    database = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    with database.read() as session:
        noted = [row.action for row in activity.list_page(session, "ann", after=None, limit=9)[0]]
    database.dispose()
    changes = ["limit", "limit", "suspend", "resume", "cancel-all"]
    assert noted[::-1] == ["keys create", *[f"owners {change}" for change in changes]]


def test_unknown_owners_are_named(run):
    for command in ["show", "suspend", "resume", "cancel-all"]:
        status, printed, errors = run("owners", command, "bob")
        assert (status, printed) == (1, "")
        assert "no owner 'bob'" in errors


def test_invalid_quotas_are_refused(run):
    run("keys", "create", "--owner", "ann")
    for change in ["datasets", "datasets=-1", "cats=3", "datasets=99999999999999999"]:
        assert run("owners", "limit", "ann", "--set", change)[0] == 2
        assert json.loads(run("owners", "show", "ann", "--json")[1])["own_quotas"] == {}


def test_cancel_all_cancels_everything_of_one_owner(run, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    work = Work(database)
    running, waiting, other = work.running(), work.submit(), work.submit(BOB)
    answer = json.loads(run("owners", "cancel-all", ALICE, "--json")[1])
    assert (answer["jobs_cancelled"], answer["studies_cancelled"]) == (2, 0)
    assert work.row(waiting).status == "cancelled"
    assert work.row(running.job_id).request == "cancel"
    assert work.row(other).status == "queued"
    database.dispose()


def test_a_model_can_be_shared_with_all_owners_and_withdrawn(run, tmp_path):
    file = tmp_path / "net.keras"
    file.write_bytes(b"not read" * 200)
    about = ("--license", "Apache-2.0", "--source", "trained here")
    assert run("models", "add", str(file), *about)[0] == 2, "`--shared` is required"
    code, _, errors = run("models", "add", "--shared", str(file), "--license", "a\nb", "--source", "x")
    assert (code, "printable characters for the license" in errors) == (2, True)
    added = json.loads(run("models", "add", "--shared", str(file), *about, "--json")[1])
    assert (added["name"], added["license"], added["source"]) == ("net.keras", "Apache-2.0", "trained here")
    [stored] = (tmp_path / "blobs" / "models" / added["id"]).iterdir()
    assert stored.read_bytes() == file.read_bytes()
    database = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    with database.read() as session:
        found = models.find(session, ALICE, added["id"])
        assert (found.owner, found.key, found.size_bytes) == (None, f"models/{added['id']}/{stored.name}", 1600)
    assert run("models", "withdraw", added["id"])[0] == 0
    assert not stored.exists()
    code, _, errors = run("models", "withdraw", added["id"])
    assert (code, errors) == (1, f"heldout: There is no shared model '{added['id']}'. `heldout models` lists them.\n")
    database.dispose()


@pytest.mark.parametrize("field", ["name", "license", "source"])
@pytest.mark.parametrize("text", ["", " ", "x" * 501, "a\nb", "\x1b[31m"])
def test_descriptions_of_shared_models_must_be_plain_text(field, text):
    fine = {"name": "net", "license": "Apache-2.0", "source": "trained here"}
    assert models.SharedModel(**fine).find_fault() is None
    assert field in (models.SharedModel(**{**fine, field: text}).find_fault() or "")


def test_a_network_of_keras_is_ordered_by_name_alone(run, tmp_path):
    file = tmp_path / "net.keras"
    file.write_bytes(b"not read")
    assert run("models", "add", str(file), "--pretrained", "mobilenet_v2")[0] == 2
    assert run("models", "add")[0] == 2
    code, _, errors = run("models", "add", "--pretrained", "mobilenet_v9")
    assert (code, "'mobilenet_v9' is not a network of Keras" in errors) == (1, True)
    assert "mobilenet_v2, mobilenet_v3_large" in errors, "the names are listed"
    code, printed, _ = run("models", "add", "--pretrained", "mobilenet_v2", "--detach", "--json")
    ordered = json.loads(printed)
    assert (code, ordered["name"], ordered["license"]) == (0, "mobilenet_v2", "Apache-2.0")


@pytest.mark.parametrize("ends", [ModelStatus.READY, ModelStatus.REJECTED])
def test_who_orders_a_network_waits_until_it_is_there_or_reads_why_it_is_not(run, tmp_path, monkeypatch, ends):
    database = Database(f"sqlite:///{tmp_path / 'heldout.db'}")
    why = {"code": "not_fetched", "detail": "It needs internet."}

    def end(_: float) -> None:
        with database.write() as session:
            [row] = models.list_shared(session, "mobilenet_v2")
            row.status, row.error = ends, why if ends is ModelStatus.REJECTED else None

    monkeypatch.setattr("host.models_commands.time.sleep", end)
    code, printed, errors = run("models", "add", "--pretrained", "mobilenet_v2")
    assert "a worker downloads it from https://storage.googleapis.com" in errors
    if ends is ModelStatus.READY:
        assert (code, "mobilenet_v2 is shared with all owners" in printed) == (0, True)
    else:
        assert (code, "mobilenet_v2 was not added. It needs internet." in errors) == (1, True)
    database.dispose()
