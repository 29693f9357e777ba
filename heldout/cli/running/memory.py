"""What a folder remembers of its studies: which command began which, and which trainings run here."""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from heldout.views.study_run import AssignedRunView

FOLDER = "heldout-runs"


class StudiesOfFolder:
    """`heldout-runs/studies.json`: for each command, the key of its order, and the study.

    The key is written before the study is ordered, so a command that is killed in between never orders two.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "studies.json"

    def get(self, command: str) -> tuple[str, str | None] | None:
        """Return the key and the study of a command, if it was given here before."""
        found = _read_json(self._file, {}).get(command)
        return None if found is None else (found["key"], found["study"])

    def begin(self, command: str) -> str:
        """Remember a new key for a command's order, and return it."""
        key = uuid.uuid4().hex
        self._put(command, {"key": key, "study": None})
        return key

    def keep(self, command: str, key: str, study_id: str) -> None:
        self._put(command, {"key": key, "study": study_id})

    def _put(self, command: str, entry: dict[str, Any]) -> None:
        _write_json(self._file, {**_read_json(self._file, {}), command: entry})


class HeldRuns:
    """`held.json` in a study's folder: the trainings that a command runs here, with the tokens of their leases.

    If the command is killed, the next one continues them at once. Only the first command in a folder has the lock,
    and so takes them over; a second one asks for others.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "held.json"
        self._lock = lock(folder / "lock")

    def list_left(self) -> list[AssignedRunView]:
        """List what an earlier command was running when it ended."""
        if self._lock is None:
            return []
        return [AssignedRunView.model_validate(run) for run in _read_json(self._file, [])]

    def keep(self, runs: Iterable[AssignedRunView]) -> None:
        if self._lock is not None:
            _write_json(self._file, [run.model_dump(mode="json") for run in runs])


def lock(file: Path) -> IO[bytes] | None:
    """Lock a file until this process ends; None if another process has the lock, or where there are no locks."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return None
    opened = file.open("ab")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        opened.close()
        return None
    return opened


def _read_json(file: Path, default: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def _write_json(file: Path, content: Any) -> None:
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    beside.replace(file)
