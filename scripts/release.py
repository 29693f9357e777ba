"""Builds the files of a release into dist/, and tries them (`make release`).

Wheels and sdists are built twice from the last commit, in two folders, and must be the same bytes. Then come
requirements with the hash of every package, lists of packages (CycloneDX), checksums and a signature. Each Python that
is here installs the service from these files alone, and runs it. PYTHON312=… names one that is not on PATH.

ARGS=--no-images leaves the images out, where no Docker engine answers. ARGS=--no-try only builds. Base images are named
by digest, for which a registry must have them; ARGS=--base-by-name takes those that are here.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from scripts import release_images, release_trial
from scripts.wheels import build_distributions

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13")
# The name under which a release is signed, and what for: `ssh-keygen -Y verify -I NAME -n PURPOSE`.
SIGNER, PURPOSE = "release@heldout", "heldout-release"
# A private key of SSH. Without it, a new one is made that signs this build alone.
KEY_VARIABLE = "HELDOUT_RELEASE_KEY"
# For each extra of the client: the extra of the service's wheel, and the lock that has all it needs.
EXTRAS = {"data": ("", "files"), "service": ("[cpu]", "cpu"), "service-gpu": ("[gpu]", "gpu")}


def main() -> None:
    parser = argparse.ArgumentParser("scripts/release.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--no-images", action="store_true", help="Do not build and try images.")
    parser.add_argument("--base-by-name", action="store_true", help="Accept base images that no registry has.")
    parser.add_argument("--host-network", action="store_true", help="Let image builds use this machine's network.")
    parser.add_argument("--no-try", action="store_true", help="Do not install and run what was built.")
    parser.add_argument("--python", action="append", help="Only this version. Repeatable; default: 3.11 to 3.13.")
    asked = parser.parse_args()
    pythons = find_pythons(asked.python or PYTHONS)
    if not pythons:
        sys.exit(f"heldout: none of the Pythons {', '.join(asked.python or PYTHONS)} is here")
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        build_twice(Path(folder))
        write_requirements(DIST)
        shutil.copy(ROOT / "LICENSE", DIST)
        if not asked.no_images:
            release_images.build(
                Path(folder) / "first" / "source",
                DIST,
                base_by_name=asked.base_by_name,
                host_network=asked.host_network,
            )
        trials = Path(folder) / "t"
        for number, (version, python) in enumerate(pythons.items()):
            environment = trials / version
            if not asked.no_try or number == 0:
                say(f"Installing the service from dist/ with Python {version}")
                release_trial.install(python, environment, DIST)
            if number == 0:
                write_sbom(environment, DIST / "sbom-service.cdx.json")
            if not asked.no_try:
                release_trial.run(environment, trials / f"h{version}", with_demo=number == 0)
                say(f"Python {version}: the service runs from these files alone")
            if number:
                shutil.rmtree(environment, ignore_errors=True)
        write_checksums(DIST)
        sign(DIST, Path(folder))
        if not asked.no_images and not asked.no_try:
            release_images.run(DIST)
    lacking = [version for version in asked.python or PYTHONS if version not in pythons]
    if lacking:
        say(f"Not tried, as no such Python is here: {', '.join(lacking)}")
    print(*sorted(f"dist/{path.name}" for path in DIST.iterdir()), sep="\n")


def say(text: str) -> None:
    print(text, flush=True)


def read_version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


# --- wheels ---------------------------------------------------------------------------------------


def build_twice(folder: Path) -> None:
    """Build into dist/ from two copies of the last commit. Ends the program if they differ."""
    changed = read_output("git", "status", "--porcelain")
    if changed:
        say(f"The release is the last commit. Changes since then are not in it:\n{changed}")
    epoch = read_output("git", "log", "-1", "--format=%ct")
    digests = []
    for name in ("first", "second"):
        say(f"Building wheels and sdists ({name} build)")
        source, built = folder / name / "source", folder / name / "dist"
        source.mkdir(parents=True)
        packed = folder / "source.tar"
        call("git", "archive", "--output", str(packed), "HEAD")
        call("tar", "--extract", "--file", str(packed), "--directory", str(source))
        build_pages(source)
        build_distributions(source, folder / name / "work", built, epoch)
        digests.append(compute_digests(built))
    if digests[0] != digests[1]:
        differ = [name for name in digests[0] if digests[0][name] != digests[1].get(name)]
        sys.exit(f"heldout: two builds of the same commit differ: {', '.join(differ)}")
    shutil.copytree(folder / "first" / "dist", DIST)


def build_pages(source: Path) -> None:
    """Build the dashboard and the manual in a copy of the sources, with the tools of this checkout."""
    (source / ".venv").symlink_to(ROOT / ".venv")
    call("scripts/web", "build", cwd=source)
    done = subprocess.run(
        [sys.executable, "scripts/manual.py"],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"heldout: the manual could not be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


# --- what lies next to the wheels -----------------------------------------------------------------


def write_requirements(dist: Path) -> None:
    """Write the requirements of each extra: every package with its hashes, the project's own wheels among them.

    A file of constraints cannot hold them, because pip takes hashes from requirements only.
    """
    own = {path.name.split("-")[0]: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.glob("*.whl")}
    for extra, (of_service, lock) in EXTRAS.items():
        wanted = {"heldout": f"heldout[{extra}]", "heldout_service": f"heldout-service{of_service}"}
        lines = [
            f"{name}=={read_version()} \\\n    --hash=sha256:{digest}\n"
            for package, name in wanted.items()
            for digest in [own[package]]
        ]
        text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
        pins = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
        (dist / f"requirements-{extra}.txt").write_text("".join(lines) + pins, encoding="utf-8")


def write_sbom(environment: Path, target: Path) -> None:
    """List the packages of an environment, with licenses and without anything that differs between two runs."""
    call(
        str(ROOT / ".venv" / "bin" / "cyclonedx-py"),
        "environment",
        str(environment / "bin" / "python"),
        "--output-reproducible",
        "--of=JSON",
        f"--output-file={target}",
    )
    found = json.loads(target.read_text(encoding="utf-8"))
    names = {component["name"] for component in found["components"]}
    if found["bomFormat"] != "CycloneDX" or not {"heldout", "heldout-service", "fastapi"} <= names:
        sys.exit(f"heldout: {target.name} does not list the service")


def write_checksums(dist: Path) -> None:
    digests = compute_digests(dist)
    (dist / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def compute_digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sign(dist: Path, folder: Path) -> None:
    """Sign the checksums with an SSH key, and verify the signature as a user does."""
    given = os.environ.get(KEY_VARIABLE)
    key = Path(given) if given else folder / "key"
    if not given:
        say(f"{KEY_VARIABLE} names no key: a new one signs this build alone")
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", str(key))
    sums = dist / "SHA256SUMS"
    (dist / "SHA256SUMS.sig").unlink(missing_ok=True)
    call("ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", PURPOSE, str(sums))
    public = read_output("ssh-keygen", "-y", "-f", str(key))
    (dist / "allowed_signers").write_text(f'{SIGNER} namespaces="{PURPOSE}" {public}\n', encoding="utf-8")
    words = ["-f", str(dist / "allowed_signers"), "-I", SIGNER, "-n", PURPOSE, "-s", f"{sums}.sig"]
    with sums.open("rb") as file:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", *words], stdin=file, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"heldout: the signature cannot be verified: {done.stdout}{done.stderr}")


# --- programs -------------------------------------------------------------------------------------


def find_pythons(versions: Iterable[str]) -> dict[str, str]:
    """Return the interpreters of these versions that run here, by version."""
    found = {}
    for version in versions:
        code = "import sys, ssl, sqlite3, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
        for name in (f"python{version}", os.environ.get(f"PYTHON{version.replace('.', '')}", "")):
            path = shutil.which(name) if name else None
            if path is None:
                continue
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                found[version] = path
                break
    return found


def call(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"heldout: {' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")


def read_output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
