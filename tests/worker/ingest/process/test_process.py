"""The process that ingests an upload is bounded, has no secrets, dies with its parent, and reports its end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import IngestedContent
from tests.worker.ingest.test_hostile import chunk, png
from tests.worker.ingest.uploads import MIB, SPEC, add_audit, arrays_of, encoded, noise, npz, pictures, taken, zipped
from worker.ingest.parent import BoundedProcess, ingest, parse_answer
from worker.ingest.pipeline import run
from worker.ingest.rejection import IngestLimits, Rejection
from worker.machine.enclosure import ROOT, find_sandbox_features

TWO = IngestLimits(processes=2)
HERE = find_sandbox_features()


def list_processes(group: int) -> list[int]:
    """List the processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended
        if int(fields[3]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def until(what, within_s: float = 120.0) -> None:
    """Wait for an effect of another process."""
    ends = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < ends, "it did not happen"
        threading.Event().wait(0.02)


def reject(source: Path, target: Path, spec: DatasetSpec = SPEC, limits: IngestLimits = TWO) -> Rejection:
    with pytest.raises(Rejection) as caught:
        ingest(source, spec, target, limits)
    assert list(target.iterdir()) == []
    return caught.value


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An upload that takes some time."""
    some = pictures(10, shape=(200, 200))
    files = {f"{name}{part}.png": data for name, data in some.items() for part in range(100)}
    return zipped(tmp_path_factory.mktemp("large") / "large.zip", files, zipfile.ZIP_STORED)


def start(source: Path, target: Path, limits: IngestLimits = TWO) -> BoundedProcess:
    """Start the process that ingests an upload."""
    assignment = {"spec": SPEC.model_dump(mode="json"), "base": None}
    return BoundedProcess("ingest", assignment, {"source": source}, target, limits)


def wait_for_helpers(process: BoundedProcess) -> None:
    """Wait until the process and its two helpers run."""
    until(lambda: len(list_processes(process.pid)) == 3)


def receive_all(process: BoundedProcess) -> None:
    """Wait for the report."""
    while not isinstance(process.receive(60), IngestedContent):
        pass


# --- valid uploads -------------------------------------------------------------------------------


def test_the_process_gives_the_report_of_run(tmp_path):
    path = zipped(tmp_path / "a.zip", pictures(40))
    expected, _ = taken(path)
    assert add_audit(ingest(path, SPEC, tmp_path / "target", TWO), tmp_path / "target") == expected


def test_messages_survive_encoding(tmp_path):
    report = run(npz(tmp_path / "a.npz", **arrays_of(40)), SPEC, tmp_path / "target", TWO)
    assert parse_answer("ingest", json.loads(json.dumps({"ingested": asdict(report)}))) == report
    rejection = Rejection(RejectionCode.BAD_LABELS, "…", "é\n")
    with pytest.raises(Rejection) as caught:
        parse_answer("ingest", json.loads(json.dumps({"rejection": rejection.as_json()})))
    assert caught.value.as_json() == {"code": "bad_labels", "detail": "…", "member": "é\\n"}


def test_the_process_never_imports_tensorflow_or_a_database():
    code = "import sys, worker.ingest.child; print(sorted(name for name in sys.modules if '.' not in name))"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in ("tensorflow", "keras", "sqlalchemy", "celery", "fastapi", "obstore", "pyarrow"):
        assert f"'{name}'" not in modules


# --- bounds --------------------------------------------------------------------------------------


def test_the_process_inherits_no_secrets(tmp_path, large, monkeypatch):
    for name in ("HELDOUT_DATABASE_URL", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "HELDOUT_API_KEY", "ANYTHING_ELSE"):
        monkeypatch.setenv(name, "secret-1234")
    with start(large, tmp_path / "target") as process:
        wait_for_helpers(process)
        for pid in list_processes(process.pid):
            assert b"secret-1234" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert b"secret-1234" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_memory_processor_time_files_and_rights_are_bounded(tmp_path, large):
    with start(large, tmp_path / "target", IngestLimits(memory_bytes=700 * MIB, wall_s=77)) as process:
        wait_for_helpers(process)
        for pid in list_processes(process.pid):
            limits = Path(f"/proc/{pid}/limits").read_text()
            values = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
            assert values["Max data size"] == str(700 * MIB)
            assert values["Max cpu time"] == "77"
            assert values["Max core file size"] == "0"
            status = Path(f"/proc/{pid}/status").read_text()
            assert "\nNoNewPrivs:\t1\n" in status
            assert ("\nSeccomp:\t2\n" in status) is HERE.has_filter
            assert (f"\nUid:\t{os.geteuid()}\t" not in status) is (not HERE.cannot_switch)


def test_an_image_that_exceeds_the_memory_is_named(tmp_path):
    files = {**pictures(10), "cat/005x.png": png(30_000, 30_000)}
    limits = IngestLimits(memory_bytes=512 * MIB, pixels=10**9)
    rejection = reject(zipped(tmp_path / "a.zip", files), tmp_path / "target", limits=limits)
    assert (rejection.code, rejection.member) == ("out_of_memory", "cat/005x.png")


def test_labels_that_exceed_the_memory_are_refused(tmp_path):
    labels = np.array(["x" * 500, "y"] * 60_000)
    path = npz(tmp_path / "a.npz", x=np.zeros((120_000, 8, 8), np.uint8), y=labels)
    rejection = reject(path, tmp_path / "target", limits=IngestLimits(memory_bytes=300 * MIB, member_bytes=10**10))
    assert rejection.code in ("out_of_memory", "bad_labels")


def test_the_process_refuses_a_bomb(tmp_path, bomb):
    path = zipped(tmp_path / "a.zip", {**pictures(4), "cat/x.png": png(10, 12, chunk(b"zTXt", b"x\0\0" + bomb))})
    assert reject(path, tmp_path / "target").code == "image_bomb"


def test_an_ingest_that_takes_too_long_is_ended(tmp_path):
    """Python would need ages to match this group rule."""
    files = {f"{name}/{'a' * 60}{number}.png": encoded(noise()) for name in ("cat", "dog") for number in range(4)}
    spec = DatasetSpec(name="pets", group_by=r"^[^/]+/((?:a+)+)$")
    began = time.monotonic()
    rejection = reject(zipped(tmp_path / "a.zip", files), tmp_path / "target", spec, IngestLimits(wall_s=2))
    assert rejection.code == "timed_out"
    assert rejection.is_retryable
    assert time.monotonic() - began < 15


# --- ends ----------------------------------------------------------------------------------------


def test_killing_ends_all_processes_and_leaves_no_files(tmp_path, large):
    process = start(large, tmp_path / "target")
    wait_for_helpers(process)
    process.kill()
    until(lambda: list_processes(process.pid) == [])
    assert list((tmp_path / "target").iterdir()) == []
    process.kill()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_gives_a_rejection_and_ends_its_helpers(tmp_path, large, sent):
    with start(large, tmp_path / "target") as process:
        wait_for_helpers(process)
        os.kill(process.pid, sent)
        with pytest.raises(Rejection) as caught:
            receive_all(process)
    assert caught.value.code == "crashed"
    assert sent.name in caught.value.detail
    assert list((tmp_path / "target").iterdir()) == []
    until(lambda: list_processes(process.pid) == [])


def test_a_helper_that_dies_gives_a_rejection(tmp_path, large):
    with start(large, tmp_path / "target") as process:
        wait_for_helpers(process)
        helper = next(pid for pid in list_processes(process.pid) if pid != process.pid)
        os.kill(helper, signal.SIGSEGV)
        with pytest.raises(Rejection) as caught:
            receive_all(process)
    assert caught.value.code == "crashed"
    assert list((tmp_path / "target").iterdir()) == []


def test_the_process_ends_with_its_parent(tmp_path, large):
    """The parent is killed and cannot end anything itself."""
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from tests.worker.ingest.process.test_process import start, wait_for_helpers\n"
        f"process = start(Path({str(large)!r}), Path({str(tmp_path / 'target')!r}))\n"
        "wait_for_helpers(process); print(process.pid, flush=True); threading.Event().wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    assert list_processes(group)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: list_processes(group) == [])


def test_no_other_message_is_understood():
    wrong = ([], {}, {"ingested": {}}, {"ingested": {}, "more": {}}, {"related": {}}, {"rejection": {"code": "x"}})
    for answer in (*wrong, {"rejection": {"code": "x", "detail": "y", "member": None}}):
        with pytest.raises(ValueError):  # noqa: PT011  (of any kind)
            parse_answer("ingest", answer)


@pytest.mark.parametrize("line", [b"", b'{"related": {}}', b"\xff", b"[" * 9999])
def test_an_invalid_message_or_one_of_other_work_ends_the_process(tmp_path, large, monkeypatch, line):
    monkeypatch.setattr(BoundedProcess, "read_line", lambda *_: line)
    with start(large, tmp_path / "target") as process, pytest.raises(Rejection, match="an invalid message") as caught:
        process.receive(60)
    assert caught.value.code == "crashed"
    assert list((tmp_path / "target").iterdir()) == []
