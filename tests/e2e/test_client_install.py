"""The served client installs into an empty environment, and newcomers reach their goals with it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import httpx2
import numpy as np
import pytest
from packaging.requirements import Requirement

from heldout import __version__
from tests.e2e.running import Service
from tests.newcomer_sets import TRAIN as TRAIN_IMAGES
from tests.newcomer_sets import WORDS, list_files, pack_splits, read_digits

FILE = f"heldout-{__version__}-py3-none-any.whl"
SHOW = """
import heldout
from heldout import Client

print(heldout.__file__, next(iter(Client().jobs.list(study="none"))).diagnosis().verdict)
"""

NEWCOMER = """
import sys
from heldout import Client

client, folder, image = Client(), *sys.argv[1:]
digits = client.datasets.push(f"{folder}/digits", name="my-digits").wait()
network = {"blocks": [{"filters": 8}, {"filters": 16}]}
job = client.train({"dataset": digits.name, "network": network, "training": {"epochs": 2}}).wait()
print(job.diagnosis())
print(job.predict([image]).predictions[0].answer)
faulty = client.datasets.push(f"{folder}/relabelled", name="my-relabelled").wait()
[finding] = [finding for finding in faulty.audit().findings if finding.severity == "critical"]
fixed = faulty.fix(finding.fix).wait()
print([finding.code for finding in fixed.audit().findings if finding.severity == "critical"])
"""


def distributions_below(requirements: list[str], found: set[str]) -> set[str]:
    """Collect the names of all distributions that these need on this machine, without extras."""
    for requirement in map(Requirement, requirements):
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_wanted and requirement.name not in found:
            found.add(requirement.name)
            distributions_below(distribution(requirement.name).requires or [], found)
    return found


def copy_distribution(name: str, to: Path) -> None:
    """Copy the files that a wheel has installed, as pip would install them."""
    for file in distribution(name).files or []:
        if not file.parts[0].startswith("..") and "__pycache__" not in file.parts:
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), to / file)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what the project's own dependencies need, and nothing else of ours."""
    import tomllib

    from tests.e2e.running import ROOT

    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
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


def run_pip(service: Service, environment: Path, *arguments: str) -> str:
    """Run the tests' own pip on another environment, which starts faster than with a pip of its own."""
    return run(service, Path(sys.executable), "-m", "pip", "--python", str(environment / "bin/python"), *arguments)


@pytest.fixture(scope="module")
def installed(running_service: Service, bare: Path) -> Path:
    """The bare environment with the client of the running service."""
    run_pip(running_service, bare, "install", "--no-index", f"{running_service.url}/client/{FILE}")
    return bare


def test_the_served_wheel_installs_with_nothing_else(service: Service, installed: Path) -> None:
    there = {package["name"] for package in json.loads(run_pip(service, installed, "list", "--format=json"))}
    assert "heldout" in there
    assert not there & {"pydantic-settings", "numpy", "fastapi", "sqlalchemy", "keras", "tensorflow"}


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


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Folders of two zips each, and an image: the files that a newcomer has."""
    pack_splits(tmp_path / "digits")
    for fault in ("inverted", "relabelled"):
        pack_splits(tmp_path / fault, fault)
    images, labels = read_digits()
    [content] = list_files(images[:1], labels[:1]).values()
    (tmp_path / "mine.png").write_bytes(content)
    return tmp_path


def assert_test_split_is_true(service: Service, dataset: str) -> None:
    """Check that test images show what their classes say, whatever the files were called."""
    _, labels = read_digits()
    truth = {WORDS[digit]: int(np.sum(labels[TRAIN_IMAGES:] == digit)) for digit in range(10)}
    with service.client() as client:
        found = client.datasets.get(dataset)
        assert dict(zip(found.classes, found.splits.test.per_class, strict=True)) == truth
        first = client.datasets.images(found.id, split="test", class_="three", limit=1).data[0]
        assert WORDS[labels[TRAIN_IMAGES + int(Path(first.member).stem)]] == "three"


def test_a_newcomer_reaches_a_prediction_and_fixes_a_set_in_a_terminal(
    service: Service, installed: Path, sets: Path
) -> None:
    program = installed / "bin/heldout"
    uploaded = run(service, program, "datasets", "push", str(sets / "digits"))
    assert "10 classes" in uploaded
    assert "200 test" in uploaded
    run(service, program, "train", "--preset", "regularized", "--set", "dataset=digits", "--set", "training.epochs=2")
    headline = run(service, program, "diagnose", "last").splitlines()[0]
    answer = run(service, program, "predict", "last", str(sets / "mine.png"))
    with service.client() as client:
        job = next(iter(client.jobs.list(study="none")))
        assert headline == job.diagnosis().headline
        shown = f"{next(installed.rglob('heldout/__init__.py'))} {job.diagnosis().verdict}"
        assert run(service, installed / "bin/python", "-c", SHOW).strip() == shown
        [wanted] = job.predict([(sets / "mine.png").read_bytes()]).predictions
        assert wanted.answer in answer
    found = run(service, program, "datasets", "push", str(sets / "inverted"))
    assert "The test images are inverted." in found
    [command] = [text.split() for text in re.findall("`(heldout datasets fix[^`]+)`", found)]
    preview = run(service, program, *command[1:], "--dry-run")
    assert "Changes 200 of 200 test images." in preview
    fixed = run(service, program, *command[1:], "--yes")
    assert "inverted@2" in fixed
    assert "critical" not in fixed
    assert_test_split_is_true(service, "inverted")


@pytest.mark.proof  # the test above does the same with the commands, which use this client
def test_a_newcomer_reaches_a_prediction_and_fixes_another_set_from_python(
    service: Service, installed: Path, sets: Path
) -> None:
    printed = run(service, installed / "bin/python", "-c", NEWCOMER, str(sets), str(sets / "mine.png"))
    *verdict, answer, relabelled = printed.splitlines()
    with service.client() as client:
        job = next(iter(client.jobs.list(study="none")))
        diagnosis = job.diagnosis()
        assert [diagnosis.headline, diagnosis.summary] == [line for line in verdict if line]
        [wanted] = job.predict([(sets / "mine.png").read_bytes()]).predictions
        assert (answer, relabelled) == (wanted.answer, "[]")
    assert_test_split_is_true(service, "my-relabelled")
