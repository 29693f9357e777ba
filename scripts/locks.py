"""Makes the lock files (`make locks`) and checks, with no network, that they still fit pyproject.toml.

A lock begins with the digest of the requirements that it was made from, so an edit without `make locks` is noticed.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Made by `make locks` from requirements with the digest "

# Dependency groups of each lock. All but the first are held to the first one's versions, so that any of them can be
# installed over it.
LOCKS: dict[str, list[str]] = {
    "cpu": ["cpu", "export", "build"],
    "gpu": ["gpu", "export", "build"],
    "dev": ["dev", "bench", "client-generators"],
    "docs": ["docs"],
    "data": ["data"],
    "pretrained": ["pretrained"],
    "node": ["node"],
    "release": ["release"],
    "files": ["files"],
}
# Locks of packages together with what these need, hence the project's own dependencies too; `dev` has all extras.
WITH_PROJECT = {"cpu", "gpu", "dev", "docs", "release", "files"}

PIN = re.compile(r"^([\w.-]+)==([^ ;\\]+)(?: ; [^\\]+)? \\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.M)


def requirements_digest(project: dict) -> str:
    """Compute a digest that changes if and only if a lock has to change."""
    table = project["project"]
    parts = [table["requires-python"], table["dependencies"], table["optional-dependencies"]]
    return hashlib.sha256(json.dumps([*parts, project["dependency-groups"]], sort_keys=True).encode()).hexdigest()


def requirements_of(project: dict, lock: str) -> list[Requirement]:
    """Return the requirements of a lock's groups, of groups that they include, and of the project itself."""
    table = project["project"]
    texts = list(table["dependencies"]) if lock in WITH_PROJECT else []
    extras = table["optional-dependencies"]
    texts += [text for extra in list_extras(project) for text in extras[extra]] if lock == "dev" else []
    waiting = list(LOCKS[lock])
    while waiting:
        for entry in project["dependency-groups"][waiting.pop()]:
            if isinstance(entry, dict):
                waiting.append(entry["include-group"])
            else:
                texts.append(entry)
    return [Requirement(text) for text in texts]


def list_extras(project: dict) -> list[str]:
    """Return the extras that name packages of an index, and not the project's second wheel."""
    extras = project["project"]["optional-dependencies"]
    own = project["project"]["name"]
    return [name for name, texts in extras.items() if not any(text.startswith(f"{own}-") for text in texts)]


def pins_of(lock: str) -> dict[str, set[str]]:
    """Return the versions pinned for each name; several if Pythons or platforms differ."""
    pins: dict[str, set[str]] = {}
    for name, version in PIN.findall(lock):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


def faults_of(name: str, project: dict, lock: str) -> list[str]:
    """Yield what is wrong with a lock; nothing if it is current, hashed throughout and free of addresses."""
    faults = []
    pins = pins_of(lock)
    if not lock.startswith(f"{HEADER}{requirements_digest(project)}\n"):
        faults.append("is older than the requirements in pyproject.toml: run `make locks`")
    if "://" in lock or re.search(r"^\s*-(?!-hash=)", lock, re.M):
        faults.append("names an address or an option: a lock holds pins and hashes only")
    if len(PIN.findall(lock)) != len(re.findall(r"^[^#\s]", lock, re.M)):
        faults.append("has a line that is not a pin with hashes")
    for requirement in requirements_of(project, name):
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            faults.append(f"does not satisfy `{requirement}`: pinned is {', '.join(sorted(versions)) or 'nothing'}")
    return faults


def check(project: dict) -> int:
    faulty = False
    for name in LOCKS:
        for fault in faults_of(name, project, (ROOT / f"locks/{name}.txt").read_text()):
            faulty = True
            print(f"locks/{name}.txt {fault}", file=sys.stderr)
    return int(faulty)


def make(project: dict, *options: str) -> int:
    """Resolve again for all Pythons and platforms at once; versions in a lock stay unless `--upgrade` is given."""
    extras = [f"--extra={extra}" for extra in list_extras(project)]
    for name, groups in LOCKS.items():
        command = ["uv", "pip", "compile", "pyproject.toml", "-o", f"locks/{name}.txt", *options]
        command += ["--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
        command += [f"--group={group}" for group in groups] + (extras if name == "dev" else [])
        if name not in WITH_PROJECT:
            command[3:4] = ["--no-deps"]  # naming the project's file would add its own dependencies
        if name in WITH_PROJECT - {"cpu"}:
            command += ["--constraints", "locks/cpu.txt"]
        subprocess.run(command, cwd=ROOT, check=True)
        path = ROOT / f"locks/{name}.txt"
        path.write_text(f"{HEADER}{requirements_digest(project)}\n{path.read_text()}")
    return check(project)


if __name__ == "__main__":
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    arguments = sys.argv[1:]
    sys.exit(check(pyproject) if arguments == ["check"] else make(pyproject, *arguments))
