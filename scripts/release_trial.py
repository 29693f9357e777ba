"""Tries the files of a release: installs the service into an empty environment from them alone, and uses it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from heldout.client.locate import read_key_file, read_service_file

# Names that the server's packages have, and that a user's programs may have too.
PRIVATE = ("api", "worker", "models", "analysis", "host", "predict")
STARTS_WITHIN_S = 300.0
IMPORTS = f"""
import importlib.util, json, alembic.command
print(json.dumps([name for name in {PRIVATE!r} if importlib.util.find_spec(name)]))
"""


def install(python: str, environment: Path, dist: Path, extra: str = "service") -> None:
    """Make an environment with an extra, from the files in `dist`, and what their hashes name from an index."""
    _run([python, "-m", "venv", str(environment)])
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--find-links", str(dist), "--requirement", str(dist / f"requirements-{extra}.txt")])


def run(environment: Path, home: Path, *, with_demo: bool) -> None:
    """Run `heldout up`, ask it for everything that it serves, and train; or train the whole demonstration."""
    home.mkdir(parents=True, exist_ok=True)
    check_imports(environment)
    process = _start(environment, home)
    try:
        url = _wait_until_ready(process, home)
        key = (home / ".heldout" / "api-key").read_text().strip()
        for path, text in (
            ("/", "<div id="),
            ("/manual/", "Heldout"),
            ("/docs", "swagger"),
            ("/client/", "pip install"),
        ):
            page = _read(url + path)
            if text not in page:
                sys.exit(f"heldout: {path} of the installed service does not have {text!r}: {page[:300]}")
        listed = json.loads(_read(f"{url}/v1/datasets", key))
        if "digits" not in {dataset["name"] for dataset in listed["data"]}:
            sys.exit(f"heldout: the installed service has no digits: {listed}")
        spec = {"dataset": "digits", "network": {"blocks": [{"filters": 4}]}, "training": {"epochs": 2}}
        (home / "spec.json").write_text(json.dumps(spec))
        heldout = str(environment / "bin" / "heldout")
        _run([heldout, "train", "spec.json"], home)
        _run([heldout, "diagnose", "last"], home)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    if with_demo:
        rooms = next((environment / "lib").glob("python*/site-packages/heldout_service/rooms"))
        _run([str(environment / "bin" / "python"), "-P", "-m", "examples.demo"], home, {"PYTHONPATH": str(rooms)})


def check_imports(environment: Path) -> None:
    """Check that the server's packages take no names from programs of the environment."""
    found = json.loads(_run([str(environment / "bin" / "python"), "-I", "-c", IMPORTS]))
    if found:
        sys.exit(f"heldout: installing the service lets every program import {found}")


def _start(environment: Path, home: Path) -> "subprocess.Popen[bytes]":
    with (home / "up.log").open("wb") as log:
        return subprocess.Popen(
            [str(environment / "bin" / "heldout"), "up", "--port", "0"],
            cwd=home,
            env=_make_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_until_ready(process: "subprocess.Popen[bytes]", home: Path) -> str:
    """Return the address once it answers."""
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends and process.poll() is None:
        if (found := read_service_file(home / ".heldout")) is not None and read_key_file(home / ".heldout") is not None:
            return found[0]
        time.sleep(0.2)
    sys.exit(f"heldout: the installed service did not start:\n{(home / 'up.log').read_text()[-2000:]}")


def _read(url: str, key: str | None = None) -> str:
    request = urllib.request.Request(url, headers={} if key is None else {"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode("utf-8", "replace"))


def _make_environment(home: Path) -> dict[str, str]:
    kept = ("PATH", "LANG", "TMPDIR", "PIP_CACHE_DIR", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "PYENV_VERSION")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home)}


def _run(command: list[str], home: Path | None = None, more: dict[str, str] | None = None) -> str:
    environment = None if home is None else _make_environment(home) | (more or {})
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"heldout: {' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
