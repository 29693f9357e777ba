"""`heldout …` without a service or without the server, and what it does in any terminal."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from heldout import __version__
from tests.heldout.served import PATIENCE_S, ROOT, SPEC, bare_environment, run_apart
from tests.servers import find_free_port

# --- the service and its absence -------------------------------------------------------------------


@pytest.fixture
def run_bare(run_here, tmp_path):
    """Run `heldout …` without an address or a key."""
    return lambda *arguments, **changes: run_here(bare_environment(tmp_path) | changes, *arguments)


def test_without_a_service_one_line_says_how_to_start_one(run_bare):
    result = run_bare("jobs")
    assert (result.returncode, result.stdout) == (4, "")
    [line] = result.stderr.splitlines()
    assert "heldout up" in line
    result = run_bare("jobs", "--json")
    assert (result.returncode, json.loads(result.stdout)["code"]) == (4, "no_service")


def test_an_address_without_a_listener_exits_with_4(run_bare):
    port = find_free_port()
    result = run_bare("jobs", HELDOUT_URL=f"http://127.0.0.1:{port}", HELDOUT_API_KEY="ho_1_x")
    assert result.returncode == 4
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_key_exits_with_4(heldout):
    result = heldout("jobs", HELDOUT_API_KEY="ho_1_x")
    assert result.returncode == 4
    assert "key" in result.stderr


def test_the_home_names_the_service(run_bare, service, client, tmp_path):
    home = tmp_path / "other"
    home.mkdir()
    (home / "service.json").write_text(json.dumps({"url": service.url, "pid": os.getpid()}))
    (home / "api-key").write_text(service.key + "\n")
    job_id = client.jobs.create(SPEC).id
    for arguments, changes in ((("jobs", "--home", str(home)), {}), (("jobs",), {"HELDOUT_HOME": str(home)})):
        assert job_id in run_bare(*arguments, **changes).stdout


def test_a_wrong_choice_is_refused_with_all_choices(run_bare):
    refused = run_bare("compare", "base=x", "--better", "bigger")
    assert refused.returncode == 2
    assert "Invalid value for '--better': 'bigger' is not one of 'higher', 'lower'." in refused.stderr


# --- the server's commands -------------------------------------------------------------------------


def test_a_server_command_runs_our_api_with_the_same_arguments(tmp_path):
    """A folder with the name `api` in the current directory is not run instead."""
    (tmp_path / "api").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (tmp_path / "api" / name).write_text("raise SystemExit('not ours')")
    result = run_apart(tmp_path, bare_environment(tmp_path), "up", "--port", "x")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Invalid value for '--port'" in result.stderr


def test_a_client_without_the_server_says_what_a_server_command_needs(tmp_path):
    shutil.copytree(ROOT / "heldout", tmp_path / "installed" / "heldout")
    result = run_apart(tmp_path, bare_environment(tmp_path) | {"PYTHONPATH": str(tmp_path / "installed")}, "up")
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert "pip install" in line


# --- the terminal ----------------------------------------------------------------------------------


def test_the_version_is_printed(run_bare):
    assert run_bare("--version").stdout == f"heldout {__version__}\n"


def test_help_lists_commands_and_exit_codes_without_loading_http_or_drawing(tmp_path):
    code = "import sys\nfrom heldout.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "--help"]
    result = subprocess.run(command, env=bare_environment(tmp_path), capture_output=True, text=True, check=True)
    for word in ("train", "watch", "jobs", "model", "up", "keys", "Exit codes"):
        assert word in result.stdout
    loaded = set(result.stderr.split())
    assert "heldout.cli.app" in loaded
    assert not loaded & {"rich.progress", "pydantic", "numpy", "sqlalchemy", "fastapi", "httpcore2"}


def test_any_locale_can_show_everything(heldout_apart, client):
    client.jobs.create(SPEC | {"name": "naïve – 北京"})
    result = heldout_apart("jobs", LC_ALL="C", PYTHONUTF8="0")
    assert (result.returncode, result.stderr) == (0, "")


def test_characters_that_a_stream_cannot_encode_are_replaced(heldout, client):
    client.jobs.create(SPEC | {"name": "naïve – 北"})
    assert "na?ve - ?" in heldout("jobs", encoding="ascii").stdout
    assert "8x8x1" in heldout("datasets", encoding="ascii").stdout
    assert json.loads(heldout("jobs", "--json", encoding="ascii").stdout)["data"][0]["name"] == "naïve – 北"


def test_a_name_cannot_contain_terminal_commands(heldout, client):
    client.jobs.create(SPEC | {"name": "\x1b[2J[bold]x"})
    shown = heldout("jobs").stdout
    assert "\x1b" not in shown
    assert "\\x1b[2J[bold]x" in shown


def test_a_reader_that_goes_away_causes_no_error_message(start, client):
    for _ in range(3):
        client.jobs.create(SPEC)
    process = start("jobs", "--json")
    process.stdout.close()
    process.wait(PATIENCE_S)
    assert process.returncode == 141
    assert process.stderr.read() == ""


def test_closed_streams_cause_no_failure(environment, client, tmp_path):
    command = f'exec "{sys.executable}" -m heldout jobs --json <&- 2>&-'
    result = subprocess.run(["sh", "-c", command], env=environment, stdout=subprocess.PIPE, cwd=tmp_path, check=False)
    assert result.returncode == 0
    assert json.loads(result.stdout)["object"] == "list"
