"""What is shipped and how it is set up: the client's wheel, the locks, and the choice of a Python."""

import base64
import hashlib
import io
import json
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import zipfile
from contextlib import closing
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from api import client_wheel
from heldout import __version__
from heldout.cli.starting import TEMPLATES
from heldout.spec.job import JobSpec
from scripts.release_images import read_images, remove_builds, rename_images
from scripts.wheels import ROOM_FILES, ROOMS, build, build_distributions, set_modes

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
locks = runpy.run_path(str(ROOT / "scripts/locks.py"))


# --- the wheel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of some rooms, without network and without build isolation."""
    source = tmp_path_factory.mktemp("source")
    for room in ("heldout", "analysis", "api", "examples"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__", "static*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [path] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_contains_only_the_client(wheel):
    rooms = {name.split("/")[0] for name in wheel.namelist()}
    assert rooms == {"heldout", f"heldout-{PYPROJECT['project']['version']}.dist-info"}


def test_the_wheel_contains_the_templates_and_the_skill_of_init(wheel):
    assert {f"heldout/templates/{template}" for template in TEMPLATES.values()} <= set(wheel.namelist())
    skill = ROOT / "skills" / "heldout"
    files = {f"heldout/skill_files/{path.relative_to(skill)}": path for path in skill.rglob("*") if path.is_file()}
    assert {name for name in wheel.namelist() if "skill_files" in name} == files.keys()
    assert all(wheel.read(name) == path.read_bytes() for name, path in files.items())


def test_the_wheel_has_the_heldout_command_and_its_license(wheel):
    read = {name.split("/", 1)[1]: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "heldout = heldout.cli:main" in read["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in read["METADATA"]
    assert "Apache License" in read["licenses/LICENSE"]


def test_the_service_serves_the_wheel_that_setuptools_builds(wheel):
    served = zipfile.ZipFile(io.BytesIO(client_wheel.build_wheel()))
    names = set(wheel.namelist()) - {f"{client_wheel.DIST_INFO}/top_level.txt"}
    assert set(served.namelist()) == names
    for name in names:
        if name.startswith("heldout/"):
            assert served.read(name) == wheel.read(name), name
    built, described = (
        message_from_bytes(archive.read(f"{client_wheel.DIST_INFO}/METADATA")) for archive in (wheel, served)
    )
    for field in ("Name", "Version", "License-Expression", "Provides-Extra"):
        assert sorted(described.get_all(field)) == sorted(built.get_all(field)), field
    assert SpecifierSet(described["Requires-Python"]) == SpecifierSet(built["Requires-Python"])
    needed, expected = (set(map(Requirement, of.get_all("Requires-Dist"))) for of in (described, built))
    assert needed == expected


def test_the_wheel_requires_no_server_package_but_as_an_extra_the_wheel_of_this_release(wheel):
    asked = message_from_bytes(wheel.read(f"{client_wheel.DIST_INFO}/METADATA"))
    extras = {text.split(";")[1].strip(): text.split(";")[0] for text in asked.get_all("Requires-Dist") if ";" in text}
    assert extras.keys() == {
        f'extra == "{extra}"' for extra in ("mcp", "mlflow", "png", "data", "service", "service-gpu")
    }
    for extra, of_service in {"data": "", "service": "[cpu]", "service-gpu": "[gpu]"}.items():
        assert extras[f'extra == "{extra}"'] == f"heldout-service{of_service}=={__version__}"


def test_the_documentation_names_the_file_that_is_served():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert set(re.findall(r"heldout-[\d.]+-py3-none-any\.whl", text)) == {client_wheel.NAME}
    # The name is not reserved on the public index.
    assert not re.search(r"pip install (-U )?['\"]?heldout\b(?!-)", text)


def test_pip_can_verify_every_member_of_the_served_wheel():
    served = zipfile.ZipFile(io.BytesIO(client_wheel.build_wheel()))
    rows = [row.split(",") for row in served.read(f"{client_wheel.DIST_INFO}/RECORD").decode().splitlines()]
    assert {name for name, *_ in rows} == set(served.namelist())
    for name, digest, size in rows[:-1]:
        expected = base64.urlsafe_b64encode(hashlib.sha256(served.read(name)).digest()).decode().rstrip("=")
        assert (digest, int(size)) == (f"sha256={expected}", len(served.read(name)))


def test_images_get_every_package_of_the_server():
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) <= taken
    assert {"pyproject.toml", "LICENSE", "skills"} <= taken, "the service writes the client's wheel from them"


def test_a_client_needs_no_server_and_no_keras():
    names = {locks["Requirement"](text).name for text in PYPROJECT["project"]["dependencies"]}
    assert names == {"pydantic", "httpx2", "typer", "rich"}


def test_the_wheel_leaves_the_service_out_and_works_without_it(wheel):
    assert not [name for name in wheel.namelist() if name.startswith("heldout/service/")]
    used = "import heldout; heldout.Client; import heldout.cli.app; print(heldout.__file__)"
    code = f"import sys; sys.path.insert(0, {wheel.filename!r}); {used}"
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith(wheel.filename)


# --- the wheel of the service ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which both wheels of a release are installed, without what they need."""
    folder = tmp_path_factory.mktemp("release")
    build_distributions(ROOT, folder / "work", folder / "dist", "1700000000", sdists=False)
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    wheels = sorted(map(str, (folder / "dist").glob("*.whl")))
    subprocess.run([*pip, "--target", target, *wheels], check=True, capture_output=True)
    return target


def run_installed(installed, folder, *words):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_installing_the_service_adds_one_package_whose_rooms_only_its_processes_find(installed, tmp_path):
    version = PYPROJECT["project"]["version"]
    assert {path.name for path in installed.iterdir()} - {"bin"} == {
        "heldout", "heldout_service", f"heldout-{version}.dist-info", f"heldout_service-{version}.dist-info"
    }  # fmt: skip
    code = "import os; from heldout.cli import host_commands; host_commands.find_program('api'); "
    code += "print(os.environ['PYTHONPATH'].split(os.pathsep)[0])"
    rooms = installed / "heldout_service" / "rooms"
    assert run_installed(installed, tmp_path, "-c", code).strip() == str(rooms)
    assert {path.name for path in rooms.iterdir()} == {*ROOMS, *ROOM_FILES, "mlxtend"}


def test_the_installed_service_migrates_audits_and_serves_its_client(installed, tmp_path):
    run_installed(installed, tmp_path, "-m", "heldout", "migrate")
    with closing(sqlite3.connect(tmp_path / ".heldout" / "heldout.db")) as database:
        assert database.execute("SELECT count(*) FROM datasets WHERE name = 'mnist5k'").fetchone() == (1,)
    rooms = {"PYTHONPATH": str(installed / "heldout_service" / "rooms")}
    code = "from api import client_wheel; print(client_wheel.PACKAGE, len(client_wheel.build_wheel()) > 100_000)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={**os.environ, **rooms}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(installed / "heldout_service" / "rooms" / "heldout"), "True"]


def test_the_service_needs_of_an_index_what_the_groups_say(installed):
    [metadata] = installed.glob("heldout_service-*.dist-info/METADATA")
    asked = [Requirement(text) for text in message_from_bytes(metadata.read_bytes()).get_all("Requires-Dist")]
    plain = {requirement.name for requirement in asked if "extra" not in str(requirement.marker)}
    assert plain == {"heldout", *(Requirement(text).name for text in PYPROJECT["dependency-groups"]["files"])}
    bare = {**PYPROJECT, "project": {"dependencies": [], "optional-dependencies": {}}}
    for extra in ("cpu", "gpu"):
        of_extra = {requirement.name for requirement in asked if f'extra == "{extra}"' in str(requirement.marker)}
        groups = locks["requirements_of"](bare, extra)
        assert of_extra | plain - {"heldout"} == {requirement.name for requirement in groups} - {"setuptools"}


def test_two_builds_of_the_client_give_the_same_bytes_whatever_the_modes_of_its_files(tmp_path):
    built = []
    for name, mode in (("one", 0o600), ("two", 0o755)):
        source = tmp_path / name
        shutil.copytree(ROOT / "heldout", source / "heldout", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ROOM_FILES:
            shutil.copy(ROOT / file, source)
        for path in filter(Path.is_file, source.rglob("*")):
            path.chmod(mode)
            os.utime(path, (mode, mode))
        set_modes(source)
        before = os.umask(0o777 - mode)
        try:
            build(source, "wheel", source, "1700000000")
        finally:
            os.umask(before)
        built += [path.read_bytes() for path in source.glob("*.whl")]
    assert built[0] == built[1]


# --- the locks -----------------------------------------------------------------------------------


def test_every_lock_is_known():
    assert {path.stem for path in LOCKS} == set(locks["LOCKS"])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_current_hashed_and_free_of_addresses(lock):
    assert locks["faults_of"](lock.stem, PYPROJECT, lock.read_text()) == []


def test_locks_that_share_an_environment_agree():
    cpu = locks["pins_of"]((ROOT / "locks/cpu.txt").read_text())
    for other in ("dev", "gpu"):
        pins = locks["pins_of"]((ROOT / f"locks/{other}.txt").read_text())
        assert {name: versions for name, versions in pins.items() if versions != cpu.get(name, versions)} == {}


def test_the_build_backend_is_pinned():
    assert "setuptools" in locks["pins_of"]((ROOT / "locks/cpu.txt").read_text())


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda text: text.replace("digest ", "digest 0"), "run `make locks`"),
        (lambda text: "--index-url https://packages.test/simple\n" + text, "address"),
        (lambda text: text + "six==1.17.0\n", "not a pin with hashes"),
        (lambda text: text.replace("\nkeras==3.", "\nkeras==2."), "does not satisfy `keras"),
        (lambda text: text.replace("\nuvicorn==", "\nunicorn=="), "pinned is nothing"),
    ],
    ids=["older", "address", "no hash", "too low", "missing"],
)
def test_a_corrupted_lock_is_detected(harm, complaint):
    corrupted = harm((ROOT / "locks/cpu.txt").read_text())
    assert any(complaint in fault for fault in locks["faults_of"]("cpu", PYPROJECT, corrupted))


def test_the_dashboard_s_packages_are_pinned_by_digest_and_name_no_registry():
    for folder in (ROOT / "web", *(ROOT / "web/tools").iterdir()):
        text = (folder / "package-lock.json").read_text()
        packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
        assert packages
        assert all(
            package.get("integrity", "").startswith("sha512-")
            for package in packages.values()
            if not package.get("inBundle")
        )
        assert "resolved" not in text
        assert "//" not in (folder / ".npmrc").read_text()
        asked = json.loads((folder / "package.json").read_text())
        versions = {**asked.get("dependencies", {}), **asked.get("devDependencies", {})}
        assert {name: packages[f"node_modules/{name}"]["version"] for name in versions} == versions


# --- the set-up ----------------------------------------------------------------------------------

# Real interpreters, each with one thing wrong.
TOO_OLD = "import sys; sys.version_info = (3, 10, 4, 'final', 0)"
TOO_NEW = "import sys; sys.version_info = (3, 14, 0, 'final', 0)"
NO_VENV = "import sys; sys.version_info = (3, 12, 3, 'final', 0); sys.modules['ensurepip'] = None"


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that `make setup` reads, with a `bin` in which no Python runs, as with pyenv's shims."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("scripts", "locks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        put_python(tmp_path, name, "raise SystemExit('not installed')")
    return tmp_path


def put_python(checkout, name, change):
    python = checkout / "bin" / name
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{change}; exec(sys.argv[1])" "$2"\n')
    python.chmod(0o755)


def make(checkout, *arguments):
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "LC_ALL": "C", "HOME": ""}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("pythons", "says"),
    [
        ({"python3": TOO_OLD}, "python3 is 3.10"),
        ({"python3": TOO_NEW}, "python3 is 3.14"),
        ({"python3": NO_VENV}, "apt-get install python3.12-venv"),
        ({"python3.12": NO_VENV, "python3": TOO_NEW}, "apt-get install python3.12-venv"),
        ({}, "needs Python 3.11, 3.12 or 3.13 with venv"),
    ],
    ids=["too old", "too new", "no venv", "no venv and too new", "none runs"],
)
def test_an_unsuitable_python_gets_one_line_and_no_venv(checkout, pythons, says):
    for name, change in pythons.items():
        put_python(checkout, name, change)
    result = make(checkout, "setup")
    [line, verdict_of_make] = result.stderr.splitlines()
    assert result.returncode != 0
    assert says in line
    assert verdict_of_make.startswith("make: ***")
    assert result.stdout == ""
    assert not (checkout / ".venv").exists()


def test_an_unsuitable_python_is_skipped(checkout):
    put_python(checkout, "python3.13", NO_VENV)
    put_python(checkout, "python3.11", "import sys")
    result = subprocess.run(
        ["scripts/setup", "python"],
        cwd=checkout,
        env={"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == sys._base_executable


def test_a_named_python_is_the_only_one_tried(checkout):
    put_python(checkout, "python3.13", "import sys")
    put_python(checkout, "mine", TOO_OLD)
    result = make(checkout, "setup", "PYTHON=mine")
    assert "mine is 3.10" in result.stderr
    assert not (checkout / ".venv").exists()


# --- the release ---------------------------------------------------------------------------------


def test_every_file_that_names_the_release_names_the_same_one():
    version = PYPROJECT["project"]["version"]
    newest = re.search(r"^## (?!Unreleased)(\S+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {__version__, newest[1], cited["version"]} == {version}
    assert cited["license"] == PYPROJECT["project"]["license"]
    for name in ("docker-compose.yml", ".env.example"):
        tags = re.findall(r"\bheldout:([\w.-]+)", (ROOT / name).read_text())
        assert sorted(tags) == [f"{version}-cpu", f"{version}-gpu", f"{version}-proxy"], name
    wheels = re.findall(r"heldout-(\d[\w.]*)-py3", " ".join(page.read_text() for page in (ROOT / "docs").rglob("*.md")))
    assert set(wheels) <= {version}


def test_public_ci_runs_what_ci_runs_on_every_python_that_the_package_names():
    [job] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    named = [text.rpartition(" ")[2] for text in PYPROJECT["project"]["classifiers"] if "Python :: 3." in text]
    assert job["strategy"]["matrix"]["python"] == named
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_a_release_is_published_only_for_a_tag_by_what_was_tried_and_without_a_password():
    text = (ROOT / ".github/workflows/release.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}  # YAML reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    publish = workflow["jobs"]["publish"]
    assert (publish["needs"], publish["environment"]) == ("build", "release")
    assert publish["permissions"]["id-token"] == "write"
    assert "--trusted-publishing always" in text
    assert re.findall(r"secrets\.(\w+)", text) == ["RELEASE_KEY"]
    assert not re.findall(r"uses: \S+@(?![0-9a-f]{40}\b)", text)
    for step in [*workflow["jobs"]["build"]["steps"], *publish["steps"]]:
        subprocess.run(["bash", "-n"], input=step.get("run", ""), text=True, check=True)


def test_the_compose_file_of_a_release_names_images_and_builds_none():
    written = remove_builds((ROOT / "docker-compose.yml").read_text())
    parsed = yaml.safe_load(written)
    assert not [name for name, service in parsed["services"].items() if "build" in service]
    assert "x-build" not in parsed
    assert all("image" in service for service in parsed["services"].values())
    version = PYPROJECT["project"]["version"]
    assert read_images(written) == {"cpu": f"heldout:{version}-cpu", "proxy": f"heldout:{version}-proxy"}
    published = rename_images(written, "ghcr.io/someone/heldout")
    assert read_images(published)["proxy"] == f"ghcr.io/someone/heldout:{version}-proxy"
    assert published.count("ghcr.io/someone/heldout:") == 3
    assert published.replace("ghcr.io/someone/heldout:", "heldout:") == written


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_forms_and_workflows_are_well_formed(form):
    assert isinstance(yaml.safe_load(form.read_text()), dict)


# --- other promises of a checkout ------------------------------------------------------------------


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.stem)
def test_an_example_is_a_valid_spec(example):
    JobSpec.model_validate(json.loads(example.read_text()))


def test_make_help_lists_every_target_that_a_user_calls(checkout):
    listed = make(checkout, "help").stdout
    for target in ("setup", "demo", "up", "test", "check", "bench", "proofs", "locks", "format", "clean"):
        assert f"make {target} " in listed
