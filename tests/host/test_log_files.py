"""Log files stay small while processes write to them."""

import subprocess
import sys
from pathlib import Path

from heldout.service.settings import make_embedded_settings
from host import children
from host.children import KeptProcess
from models import logs
from tests.e2e.running import until


def test_a_childs_log_is_rotated_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "MAX_FILE_BYTES", 1000)
    (tmp_path / "logs").mkdir()
    talk = "import time\nfor number in range(200): print(number, 'x' * 60, flush=True)\ntime.sleep(60)"
    with KeptProcess("worker", ["-c", talk], make_embedded_settings(tmp_path)):
        until(lambda: "199 x" in read_if_exists(tmp_path / "logs" / "worker.log"), "writing of the last line")
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["worker.log", *(f"worker.log.{n}" for n in range(1, logs.OLD_FILES + 1))]
    assert max(file.stat().st_size for file in files) <= 1000


def read_if_exists(log: Path) -> str:
    """Return the text of a log, which is briefly missing while it is rotated."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


def test_the_services_log_is_limited_in_lines_fields_and_files(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "api.log")], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["api.log", *(f"api.log.{number}" for number in range(1, logs.OLD_FILES + 1))]
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 30_000
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert max(map(len, text.splitlines())) < 2 * logs.MAX_FIELD_CHARACTERS + 500
    assert "s3cret" not in text, "no part of a secret is left where a field was truncated"


PROGRAM = f"""
import sys
from pathlib import Path
import structlog
from models import logs

logs.MAX_FILE_BYTES = 30_000
logs.configure("INFO", file=Path(sys.argv[1]))
at = {logs.MAX_FIELD_CHARACTERS} - 15
for number in range(200):
    structlog.get_logger().info("e" * 5000, path="p" * at + "://me:s3cret-password@host/", number=number)
"""
