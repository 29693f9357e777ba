"""Tries, inside the worker's container, what a hostile uploaded file could do, with the probe of the tests.

The probe's code comes from standard input. The output is JSON: what worked and as which user, the worker's user, and
the capabilities of its children, which train.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from analysis.arrays.dataset import FILES
from worker.machine.enclosed_process import EnclosedProcess

worker = next(
    path
    for path in Path("/proc").glob("[0-9]*")
    if path.stat().st_uid == os.geteuid() and b"worker.celery_app" in (path / "cmdline").read_bytes()
)
statuses = [
    dict(line.split(":\t", 1) for line in path.read_text().splitlines()) for path in Path("/proc").glob("[0-9]*/status")
]
rights_of_children = {status["CapEff"].strip() for status in statuses if status["PPid"] == worker.name}
# The probe's code is where every user may read. The files that it must not read are where the worker's files are.
with (
    tempfile.TemporaryDirectory() as code,
    tempfile.TemporaryDirectory(dir="/home/heldout/scratch") as text,
    subprocess.Popen(["sleep", "60"]) as victim,
):
    folder = Path(text)
    Path(code).chmod(0o755)
    Path(code, "probe.py").write_text(sys.stdin.read())
    for name in ("api-key", "neighbour", "input", *FILES, "other"):
        (folder / name).write_text("secret")
    os.environ["PYTHONPATH"] += f":{code}"
    inputs = {"input": folder / "input", "dataset": folder}
    assignment = {"outside": text, "tcp": 9090, "abstract": "\0none", "victim": victim.pid, "doors": None}
    assignment["files"] = [str(worker / "environ"), "/data/blobs"]
    with EnclosedProcess("probe", "", assignment, inputs, folder / "target", {}) as process:
        line = process.read_line(60)
        answer = json.loads(line) if line else process.last_lines()
        print(json.dumps([answer, worker.stat().st_uid, sorted(rights_of_children)]))
    victim.kill()
