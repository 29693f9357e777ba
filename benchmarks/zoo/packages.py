"""Packages of the registries from which the zoo's sets are built: fetched by their ordinary clients, and unpacked."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import Parser
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal


@dataclass(frozen=True, order=True)
class Package:
    """A package at one exact version. It is not installed, only unpacked in the cache folder."""

    registry: Literal["apt", "npm", "pip"]
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}={self.version}"

    @property
    def folder(self) -> Path:
        """Where its files are, as the package has them."""
        return cache_folder() / "packages" / re.sub(r"[^\w.+~=-]", "_", str(self))


PINNED = Path(__file__).with_name("packages.txt")  # a line for each: registry, name, version


class NotFetched(Exception):
    """A package that a set needs is not in the cache folder."""


def cache_folder() -> Path:
    """Where packages and built arrays lie: the folder that HELDOUT_ZOO names, or one in the user's cache."""
    return Path(os.environ.get("HELDOUT_ZOO") or Path.home() / ".cache" / "heldout-zoo")


@cache
def package(registry: str, name: str) -> Package:
    """The package at the version that `packages.txt` pins."""
    pinned = (line.split() for line in PINNED.read_text("utf-8").splitlines())
    (version,) = (version for where, called, version in pinned if (where, called) == (registry, name))
    return Package(registry, name, version)  # type: ignore[arg-type]


def fetch(packages: Iterable[Package]) -> None:
    """Download and unpack the packages that are not there yet.

    Raises:
        subprocess.CalledProcessError: if a client fails, for example because the registry no longer has that version.
    """
    for package in sorted(set(packages)):
        if package.folder.exists():
            continue
        package.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=package.folder.parent) as work:
            archives, files = Path(work, "archives"), Path(work, "files")
            archives.mkdir()
            files.mkdir()
            _run(*_download(package), folder=archives)
            (archive,) = archives.iterdir()
            _unpack(archive, files)
            files.rename(package.folder)


def files_of(package: Package, pattern: str) -> list[Path]:
    """The package's files whose paths match a glob pattern, sorted; links are left out.

    Raises:
        NotFetched: if the package is not in the cache folder.
    """
    if not package.folder.exists():
        raise NotFetched(f"{package} is not in {cache_folder()}; `python -m benchmarks.zoo fetch` gets it")
    return sorted(file for file in package.folder.glob(pattern) if file.is_file() and not file.is_symlink())


def licence_of(package: Package) -> str:
    """What the package's own metadata say of its licence."""
    match package.registry:
        case "apt":
            (copyright_file,) = files_of(package, f"usr/share/doc/{package.name}/copyright") or [None]
            text = copyright_file.read_text("utf-8", "replace") if copyright_file else ""
            names = re.findall(r"^License:[ \t]*(\S.*)$", text, re.M)
            return ", ".join(sorted({name.strip() for name in names})) or "see its copyright file"
        case "npm":
            (about,) = files_of(package, "package/package.json")
            return str(json.loads(about.read_text("utf-8")).get("license", "not said"))
        case "pip":
            (metadata,) = files_of(package, "*.dist-info/METADATA")
            fields = Parser().parsestr(metadata.read_text("utf-8"))
            classifiers = [value for value in fields.get_all("Classifier", []) if value.startswith("License")]
            said = fields.get("License-Expression") or fields.get("License") or "; ".join(classifiers)
            return said.splitlines()[0] if said else "not said"


@cache
def import_from(package: Package, module: str) -> ModuleType:
    """A module of an unpacked wheel, under its own name."""
    files_of(package, "*")
    sys.path.append(str(package.folder))
    try:
        return __import__(module)
    finally:
        sys.path.remove(str(package.folder))


def _download(package: Package) -> list[str]:
    match package.registry:
        case "apt":
            return ["apt-get", "download", "-q", f"{package.name}={package.version}"]
        case "npm":
            return ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        case "pip":
            pip = [sys.executable, "-m", "pip"] if _has_pip() else ["pip"]
            return [*pip, "download", "-q", "--no-deps", "--only-binary=:all:", f"{package.name}=={package.version}"]


def _has_pip() -> bool:
    from importlib.util import find_spec

    return find_spec("pip") is not None


def _unpack(archive: Path, folder: Path) -> None:
    match archive.suffix:
        case ".deb":
            _run("dpkg-deb", "-x", str(archive), str(folder), folder=folder)
        case ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(folder)
        case _:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
