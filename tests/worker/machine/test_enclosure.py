"""A sandboxed process that reads untrusted files cannot get out, with all protections of a machine and with fewer."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arrays.dataset import FILES
from tests.onnx_files import dense_onnx
from tests.worker.machine.probe import ALLOWED
from worker.machine import enclosed_process
from worker.machine.enclosed_process import EnclosedProcess, take_back
from worker.machine.enclosure import FIRST_USER, USERS, SandboxFeatures, find_sandbox_features
from worker.supervision.uploaded_model_attempts import UploadedModelProcess

HERE = find_sandbox_features()
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these doors")

# Which protection alone stops which attempt: another user, Landlock, or the filter of system calls.
USER, LANDLOCK, FILTER = "user", "landlock", "filter"
CLOSED_BY = {
    "read the key": {USER, LANDLOCK},
    "read a neighbour": {USER, LANDLOCK},
    "list the worker's folder": {USER, LANDLOCK},
    "read another file of the dataset": {USER, LANDLOCK},
    "read the worker's variables": {USER, LANDLOCK},
    "read the worker's memory": {USER, LANDLOCK},
    "copy the worker's memory": {USER, LANDLOCK, FILTER},
    "trace the worker": {USER, LANDLOCK, FILTER},
    "signal the worker": {USER, LANDLOCK, FILTER},
    "signal everything": {FILTER},
    "signal another process": {USER, LANDLOCK},
    "bound the worker": {USER, FILTER},
    "write outside": {USER, LANDLOCK},
    "write its input": {USER, LANDLOCK},
    "write the code": {USER, LANDLOCK},
    "open a file to all": {USER, FILTER},
    "link to the key": {LANDLOCK, FILTER},
    "connect by TCP": {LANDLOCK, FILTER},
    "connect by UDP": {FILTER},
    "connect to a socket": {USER, FILTER},
    "connect to an abstract socket": {LANDLOCK, FILTER},
    "run a program": {LANDLOCK, FILTER},
    "run Python": {LANDLOCK, FILTER},
    "make a ring": {FILTER},
    "make a namespace": {FILTER},
    "leave its session": {FILTER},
    "use a right of root": {USER, LANDLOCK, FILTER},
}
# These attempts succeed without a sandbox; otherwise their failure would prove nothing.
OPEN_OTHERWISE = {
    *("read the key", "read a neighbour", "signal the worker", "signal another process", "bound the worker"),
    *("write outside", "open a file to all", "link to the key", "connect by TCP", "connect by UDP"),
    *("connect to a socket", "connect to an abstract socket", "run a program", "run Python"),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A worker's folder with a key, input files, and servers that must not be reached."""
    umask = os.umask(0o077)  # only the worker may read its files
    outside = tmp_path / "home"
    outside.mkdir()
    (outside / "api-key").write_text("ho_secret")
    (tmp_path / "neighbour").write_text("another owner's")
    (tmp_path / "input").write_text("an upload")
    dataset = tmp_path / "datasets" / "one"
    dataset.mkdir(parents=True)
    for name in (*FILES, "other"):
        (dataset / name).write_text("{}")
    abstract = f"\0heldout-test-{os.getpid()}"
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as tcp,
        closing(socket.socket(socket.AF_UNIX)) as named,
        closing(socket.socket(socket.AF_UNIX)) as unnamed,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim,
    ):
        before = os.getcwd()
        os.chdir(outside)  # the path of a socket must be short
        named.bind("socket")
        os.chdir(before)
        named.listen()
        unnamed.bind(abstract)
        unnamed.listen()
        yield {
            "assignment": {
                "outside": str(outside),
                "tcp": tcp.getsockname()[1],
                "abstract": abstract,
                "victim": victim.pid,
            },
            "inputs": {"input": tmp_path / "input", "dataset": dataset},
            "target": tmp_path / "target",
        }
        victim.kill()
    os.umask(umask)


def try_everything(place: dict[str, Any], doors: SandboxFeatures | None) -> dict[str, Any]:
    """Return what the process could do with these protections, or with all."""
    assignment = place["assignment"] | {"doors": None if doors is None else asdict(doors)}
    with EnclosedProcess("tests.worker.machine.probe", "", assignment, place["inputs"], place["target"], {}) as process:
        line = process.read_line(60)
        assert line is not None, process.last_lines()
    return json.loads(line)


@on_linux
def test_a_file_that_two_processes_read_is_private_again_after_the_second(place: dict[str, Any]) -> None:
    file, target = place["inputs"]["input"], place["target"]
    before = file.stat()
    assert before.st_mode & 0o777 == 0o600

    def start(name: str) -> EnclosedProcess:
        return EnclosedProcess("tests.worker.machine.probe", "", {}, {"input": file}, target / name, {})

    with start("first"):
        with start("second"):
            assert not file.stat().st_mode & 0o007
        assert file.stat().st_mode & 0o040 or enclosed_process.explain_no_switch(), "the first process reads it still"
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@on_linux
@pytest.mark.parametrize(
    "missing", [(), (USER,), (USER, LANDLOCK), (USER, FILTER), (LANDLOCK, FILTER), (USER, LANDLOCK, FILTER)]
)
def test_each_attempt_is_stopped_by_the_protections_that_the_machine_has(
    missing: tuple[str, ...], place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = HERE
    if USER in missing:
        doors = replace(doors, cannot_switch="of this test")
        monkeypatch.setattr(enclosed_process, "explain_no_switch", lambda: "of this test")
    if LANDLOCK in missing:
        doors = replace(doors, landlock=0)
    if FILTER in missing:
        doors = replace(doors, has_filter=False)
    has = {USER} if not doors.cannot_switch else set()
    has |= {LANDLOCK} if doors.landlock >= 6 else set()
    has |= {FILTER} if doors.has_filter else set()
    said = try_everything(place, doors if missing else None)["said"]
    assert {name for name in ALLOWED if said[name] != "done"} == set()
    assert {name for name, by in CLOSED_BY.items() if by & has and said[name] == "done"} == set()
    assert {name for name in OPEN_OTHERWISE if not CLOSED_BY[name] & has and said[name] != "done"} == set()
    assert set(said) == ALLOWED | set(CLOSED_BY)


def test_the_process_has_five_variables_besides_our_constants(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HELDOUT_DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HOME", "ANYTHING_ELSE"):
        monkeypatch.setenv(name, "secret-1234")
    known = set(try_everything(place, None)["variables"]) - set(enclosed_process._CONSTANTS) - {"LC_CTYPE"}
    assert known <= {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "TMPDIR"}
    assert len(known) <= 5


@on_linux
@pytest.mark.skipif(bool(HERE.cannot_switch), reason=f"no other users here: {HERE.cannot_switch}")
def test_each_process_has_its_own_user_and_its_files_belong_to_the_worker(place: dict[str, Any]) -> None:
    target = place["target"]
    users = set()
    for number in range(2):
        users.add(try_everything({**place, "target": target.with_name(f"target-{number}")}, None)["user"])
    assert len(users) == 2
    assert all(FIRST_USER <= user < FIRST_USER + USERS for user in users)
    written = target.with_name("target-0")
    assert {path.stat().st_uid for path in [written, *written.rglob("*")]} == {os.geteuid()}
    assert sorted(path.name for path in written.parent.glob(".reading-*")) == []


@on_linux
def test_the_process_that_reads_a_model_is_enclosed(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(dense_onnx(np.ones((64, 2)), np.ones(2), image=(1, 8, 8)))
    assigned, out = {"max_parameters": None}, tmp_path / "out"
    with UploadedModelProcess("check", assigned, {"model": model}, out, memory_bytes=2**32, wall_s=60) as process:
        answer = process.read_line(60)
        status, limits = (Path(f"/proc/{process.pid}/{file}").read_text() for file in ("status", "limits"))
    assert answer is not None
    assert set(json.loads(answer)) == {"facts"}
    assert re.search(r"Max cpu time +60 +65 ", limits)
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert lines["NoNewPrivs"].strip() == "1"
    assert lines["Seccomp"].strip() == ("2" if HERE.has_filter else "0")
    assert lines["CapEff"].strip("0 \t") == ""
    assert (int(lines["Uid"].split()[0]) == os.geteuid()) == bool(HERE.cannot_switch)


def test_links_and_special_files_are_removed_from_the_output(tmp_path: Path) -> None:
    secret, written = tmp_path / "secret", tmp_path / "written"
    secret.write_text("secret")
    (written / "closed").mkdir(parents=True)
    (written / "plain").write_text("plain")
    (written / "closed" / "link").symlink_to(secret)
    (written / "folder").symlink_to(tmp_path)
    os.link(secret, written / "hard")
    os.mkfifo(written / "pipe")
    (written / "closed").chmod(0)
    take_back(written, is_of_other_user=False)
    assert sorted(path.name for path in written.rglob("*")) == ["closed", "plain"]
    assert secret.read_text() == "secret"


@pytest.mark.parametrize(
    ("doors", "works", "words"),
    [
        (SandboxFeatures("linux", "", 7, has_filter=True), True, ["as a user of its own", "Landlock 7", "and seccomp"]),
        (
            SandboxFeatures("linux", "", 0, has_filter=False),
            True,
            ["user of its own", "no Landlock", "Linux 6.12", "libseccomp2"],
        ),
        (
            SandboxFeatures("linux", "it is no root", 4, has_filter=True),
            True,
            ["the worker's user", "no root", "Linux 6.12"],
        ),
        (
            SandboxFeatures("linux", "it is no root", 0, has_filter=True),
            False,
            ["the worker's user", "no root", "no Landlock"],
        ),
        (
            SandboxFeatures("darwin", "…", 0, has_filter=False),
            True,
            ["the worker's user", "only Linux", "Docker Compose"],
        ),
    ],
)
def test_missing_protections_are_reported(doors: SandboxFeatures, works: bool, words: list[str]) -> None:
    is_enclosed, text = doors.describe()
    assert is_enclosed is works
    assert all(word in text for word in words)
