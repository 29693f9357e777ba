"""Log files stay small while processes write to them."""

import subprocess
import sys

from host.log_files import set_aside_if_large
from models import logs


def test_a_file_that_a_process_goes_on_writing_to_is_set_aside_with_a_few_old_ones(tmp_path):
    file = tmp_path / "worker.log"
    with file.open("ab") as opened:
        writer = subprocess.Popen(
            [sys.executable, "-c", "while True: print(input(), flush=True)"],
            stdin=subprocess.PIPE,
            stdout=opened,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    assert writer.stdin is not None
    with writer, writer.stdin:
        for number in range(8):
            line = f"{number}" * 100
            before = file.stat().st_size
            writer.stdin.write(f"{line}\n")
            writer.stdin.flush()
            while file.stat().st_size <= before:
                assert writer.poll() is None
            set_aside_if_large(file, max_bytes=50, old_files=3)
    assert file.stat().st_size == 0
    old = sorted(tmp_path.glob("worker.log.*"))
    assert [path.name for path in old] == ["worker.log.1", "worker.log.2", "worker.log.3"]
    assert [path.read_text()[:1] for path in old] == ["7", "6", "5"]
    assert max(path.stat().st_size for path in old) <= 50, "the end of what is too large is kept"


def test_a_small_file_and_one_that_is_not_there_are_left_alone(tmp_path):
    file = tmp_path / "server.log"
    set_aside_if_large(file)
    file.write_text("short\n")
    set_aside_if_large(file)
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_the_services_own_log_is_bounded_in_lines_fields_and_files(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "api.log")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["api.log", *(f"api.log.{number}" for number in range(1, logs.OLD_FILES + 1))]
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 30_000
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert max(map(len, text.splitlines())) < 2 * logs.MAX_FIELD_CHARACTERS + 500
    assert "s3cret" not in text, "no half of a secret is left where a field was cut"


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
