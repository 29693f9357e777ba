"""How clients find the service, and what they say if they cannot find it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from heldout.client.client import NoService
from heldout.client.locate import ServiceAddress, locate

KEY = "ho_1_secret"


def write_home(folder, url="http://127.0.0.1:8000", pid=None, key=KEY):
    folder.mkdir(exist_ok=True)
    (folder / "service.json").write_text(json.dumps({"url": url, "pid": pid or os.getpid()}))
    (folder / "api-key").write_text(key + "\n")
    return folder


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_environment_names_the_service(tmp_path):
    environment = {"HELDOUT_URL": "https://heldout.test", "HELDOUT_API_KEY": KEY, "HELDOUT_HOME": str(tmp_path)}
    assert locate(environment=environment) == ServiceAddress("https://heldout.test", KEY)


def test_the_files_of_the_home_are_used_without_environment_variables(tmp_path):
    write_home(tmp_path)
    assert locate(environment={"HELDOUT_HOME": str(tmp_path)}) == ServiceAddress("http://127.0.0.1:8000", KEY)


def test_the_default_home_is_in_the_user_s_folder(tmp_path, monkeypatch):
    write_home(tmp_path / ".heldout")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(environment={}).api_key == KEY
    assert locate(Path("~/.heldout"), {}).api_key == KEY


def test_a_home_on_the_command_line_overrides_the_environment(tmp_path):
    environment = {"HELDOUT_URL": "https://elsewhere.test", "HELDOUT_API_KEY": "ho_2_other"}
    assert locate(write_home(tmp_path), environment) == ServiceAddress("http://127.0.0.1:8000", KEY)


def test_a_key_from_the_environment_opens_the_home_s_service(tmp_path):
    environment = {"HELDOUT_API_KEY": "ho_2_other", "HELDOUT_HOME": str(write_home(tmp_path))}
    assert locate(environment=environment) == ServiceAddress("http://127.0.0.1:8000", "ho_2_other")


def test_the_home_s_key_is_sent_to_this_machine_only(tmp_path):
    home = str(write_home(tmp_path))
    for url in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"):
        assert locate(environment={"HELDOUT_URL": url, "HELDOUT_HOME": home}) == ServiceAddress(url, KEY)
    for url in ("https://heldout.test", "http://127.0.0.1.heldout.test", "http://localhost@heldout.test"):
        with pytest.raises(NoService, match="set HELDOUT_API_KEY"):
            locate(environment={"HELDOUT_URL": url, "HELDOUT_HOME": home})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://x"}', '{"url": "http://x", "pid": "a"}'])
def test_an_incomplete_service_file_means_no_service(tmp_path, text):
    write_home(tmp_path)
    (tmp_path / "service.json").write_text(text)
    with pytest.raises(NoService, match="heldout up"):
        locate(tmp_path)


def test_an_empty_home_says_how_to_start_a_service(tmp_path):
    with pytest.raises(NoService, match=r"No service runs in .* Start one with `heldout up`") as failure:
        locate(tmp_path)
    assert len(str(failure.value).splitlines()) == 1


def test_a_service_whose_process_is_gone_has_ended(tmp_path):
    pid = dead_pid()
    with pytest.raises(NoService, match=f"has ended \\(process {pid}\\)"):
        locate(write_home(tmp_path, pid=pid))


@pytest.mark.parametrize("pid", [-1, 2**70])
def test_an_impossible_process_id_means_that_the_service_has_ended(tmp_path, pid):
    with pytest.raises(NoService, match="has ended"):
        locate(write_home(tmp_path, pid=pid))


def test_a_missing_key_is_reported(tmp_path):
    write_home(tmp_path)
    (tmp_path / "api-key").unlink()
    with pytest.raises(NoService, match="api-key has no key"):
        locate(tmp_path)


def test_without_a_home_folder_the_error_says_what_to_set(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for an unknown user
    with pytest.raises(NoService, match="Set HELDOUT_HOME"):
        locate(environment={})
