"""The folder of a child server outside its data: its socket, and a copy of its programs where its user needs one.

It lies in the temporary directory, because the path of a socket must be short. A link in the server's own folder names
it, so that the next start can remove what a killed supervisor left.
"""

import os
import pwd
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from heldout.errors import OperatorError

NOBODY_ID = 65_534  # user and group, where the system has no user `nobody`
MAX_SOCKET_PATH_BYTES = 107
LONGEST_SOCKET = "/heldout-xxxxxxxx/.s.PGSQL.65535"


def make_runtime_folder(link: Path) -> Path:
    """Make an empty folder that only its owner can enter, and point `link` at it before."""
    if link.is_symlink():  # of a supervisor that was killed
        remove_runtime_folder(link.readlink(), link)
    folder = Path(short_temporary_folder()) / f"heldout-{secrets.token_hex(4)}"
    link.symlink_to(folder)
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        link.unlink()
        raise
    return folder


def remove_runtime_folder(folder: Path, link: Path) -> None:
    """Remove the folder, and `link` unless another server has made it its own meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        if link.readlink() == folder:
            link.unlink()


def short_temporary_folder() -> str:
    """A folder for temporary files from which programs may run and whose path leaves room for a socket's name."""
    max_length = MAX_SOCKET_PATH_BYTES - len(LONGEST_SOCKET)
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if (
            len(os.fsencode(folder)) <= max_length
            and os.access(folder, os.W_OK | os.X_OK)
            and not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0)
            and (os.geteuid() != 0 or is_open_to_all(Path(folder)))
        ):
            return folder
    raise OperatorError("No folder for sockets: set TMPDIR to one with a short path from which programs may run.")


def is_open_to_all(path: Path) -> bool:
    """Whether every user may read or enter `path` and enter the folders above it."""
    path = path.resolve()
    mode = path.stat().st_mode
    return mode & 0o5 == 0o5 and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def unprivileged_user() -> tuple[int, int]:
    """The user and group that servers run as: our own, or nobody's where we are root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY_ID, NOBODY_ID
    return nobody.pw_uid, nobody.pw_gid
