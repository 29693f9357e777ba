"""The client that the service itself serves, in an environment that has nothing else."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement

from heldout import __version__
from tests.e2e.running import Service

FILE = f"heldout-{__version__}-py3-none-any.whl"
TRAIN = """
import heldout
from heldout import Client

spec = {"dataset": "digits", "network": {"blocks": [{"filters": 4}]}, "training": {"epochs": 1}}
job = Client().train(spec)
print(job.wait().status, heldout.__file__)
print(job.diagnosis().verdict)
"""


def distributions_below(requirements: list[str], found: set[str]) -> set[str]:
    """Names of the distributions that these need, on this machine, without extras."""
    for requirement in map(Requirement, requirements):
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_wanted and requirement.name not in found:
            found.add(requirement.name)
            distributions_below(distribution(requirement.name).requires or [], found)
    return found


def copy_distribution(name: str, to: Path) -> None:
    """What a wheel has installed, as pip would install it once more."""
    for file in distribution(name).files or []:
        if not file.parts[0].startswith("..") and "__pycache__" not in file.parts:
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), to / file)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip and what the project's own dependencies need, and nothing else of ours."""
    import tomllib

    from tests.e2e.running import ROOT

    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in distributions_below(project["dependencies"], set()):
        copy_distribution(name, packages)
    return folder


def run(service: Service, program: Path, *arguments: str) -> str:
    environment = {"HELDOUT_HOME": str(service.home), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [program, *arguments], cwd=service.home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_served_wheel_installs_and_trains_with_nothing_else(service: Service, bare: Path) -> None:
    with service.client() as known:
        url = f"{known.url}/client/{FILE}"
    run(service, bare / "bin/pip", "install", "--no-index", url)
    installed = {one["name"] for one in json.loads(run(service, bare / "bin/pip", "list", "--format=json"))}
    assert "heldout" in installed
    assert not installed & {"pydantic-settings", "numpy", "fastapi", "sqlalchemy", "keras", "tensorflow"}
    status, verdict = run(service, bare / "bin/python", "-c", TRAIN).splitlines()
    assert status == f"succeeded {next(bare.rglob('heldout/__init__.py'))}"
    assert verdict
    assert "succeeded" in run(service, bare / "bin/heldout", "jobs")


def test_the_page_names_the_file_and_needs_no_key(service: Service) -> None:
    with service.client() as known:
        url = known.url
    page = httpx2.get(f"{url}/client", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/client/")
    assert f"pip install {url}/client/{FILE}" in page.text
    assert f'href="{FILE}"' in page.text
    wheel = httpx2.get(f"{url}/client/{FILE}")
    again = httpx2.get(f"{url}/client/{FILE}")
    assert hashlib.sha256(wheel.content).digest() == hashlib.sha256(again.content).digest()
    assert httpx2.get(f"{url}/client/heldout-0.0.1-py3-none-any.whl").status_code == 404
