"""The Compose file and the Dockerfile, read without an engine; `make compose-test` starts them."""

import json
import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from heldout.service.settings import Settings
from models.database import Limits

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
OURS = {"migrate", "api", "predict", "worker", "worker-gpu"}
NAMED = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE, re.M))
SECRETS = {"HELDOUT_SECRETS_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}


def test_the_services_are_those_that_the_reference_names():
    assert set(SERVICES) == {"postgres", "redis", "proxy", *OURS}
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if service.get("profiles")}
    assert profiles == {"worker-gpu": ["gpu"], "proxy": ["tls"]}


def test_the_servers_have_pinned_major_versions():
    assert SERVICES["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:17}"
    assert SERVICES["redis"]["image"] == "${REDIS_IMAGE:-redis:8}"


def test_only_the_api_and_the_optional_proxy_publish_ports():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api", "proxy"}
    assert SERVICES["api"]["ports"] == ["${HELDOUT_PUBLISH_ADDRESS:-127.0.0.1}:${HELDOUT_PORT:-8000}:8000"]


def test_no_secret_has_a_default():
    used = re.findall(r"\$\{((?:\w*PASSWORD|\w*SECRET\w*))([^}]*)\}", TEXT)
    assert {name for name, _ in used} == SECRETS
    assert {rest[:2] for _, rest in used} == {":?"}
    assert re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.M) == [(name, "") for name in sorted(SECRETS)]


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"} | {"postgres", "redis", "proxy"}))
def test_long_running_services_have_health_checks_limits_and_a_grace_period(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= 15
    assert service["deploy"]["resources"]["limits"]["memory"].startswith("${")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_run_without_privileges_that_they_do_not_need(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name in OURS or service["user"] == name


def test_the_broker_persists_its_messages():
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[::2], command[1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_the_database_has_connections_for_every_process():
    _, _, setting = SERVICES["postgres"]["command"]
    assert setting == "max_connections=${POSTGRES_CONNECTIONS:-200}"
    processes = len(OURS - {"migrate", "predict"}) + int(NAMED["HELDOUT_PREDICT_PROCESSES"])
    assert processes * (Limits().pool_size + Limits().pool_overflow) < 200


def test_services_wait_for_the_migrations():
    assert SERVICES["migrate"]["restart"] == "no"
    for name in OURS - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_all_our_services_share_the_blobs():
    for name in OURS:
        assert "blobs:/data/blobs" in SERVICES[name]["volumes"]
        assert SERVICES[name]["environment"]["HELDOUT_BLOBS"] == "${HELDOUT_BLOBS:-file:///data/blobs}"


def test_a_worker_has_time_to_release_its_jobs():
    from worker.supervision.training_attempt import STOP_TIMEOUT_S

    for name in ("worker", "worker-gpu"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 2 * STOP_TIMEOUT_S["release"]


def test_the_image_is_made_from_the_locks_and_does_not_run_as_root():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)
    assert stages[0] == ("${PYTHON_IMAGE}", "base")
    assert "\nARG PYTHON_IMAGE=python:3.13-slim-trixie\n" in DOCKERFILE
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert {build["args"]["PYTHON_IMAGE"] for build in builds} == {"${PYTHON_IMAGE:-python:3.13-slim-trixie}"}
    assert stages[-1] == ("runtime", "cpu"), "the last stage is what a plain build makes"
    assert ("runtime", "gpu") in stages
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["proxy", "10001:10001"]
    assert "PIP_REQUIRE_HASHES=1" in DOCKERFILE


def test_no_registry_or_index_address_is_hard_coded():
    store = f"HELDOUT_KERAS_URL={Settings.model_fields['keras_url'].default}"
    for text in (DOCKERFILE, TEXT, EXAMPLE):
        elsewhere = text.replace("http://predict:8000", "").replace(store, "")
        assert set(re.findall(r"\w+://", elsewhere)) <= {"file://", "postgresql://", "redis://", "s3://"}


BASE_IMAGES = {
    "PYTHON_IMAGE": "python:3.13-slim-trixie",
    "POSTGRES_IMAGE": "postgres:17",
    "REDIS_IMAGE": "redis:8",
}
# A Docker that has every image but one whose name has `missing`, each with a digest made of its name.
DOCKER = """#!/bin/sh
for image; do :; done
case "$1 $image" in pull*missing*) exit 1 ;; esac
case $1 in image) echo "${image%%:*}@sha256:$(printf %s "$image" | sha256sum | cut -d ' ' -f 1)" ;; esac
"""


def release(folder: Path, **images: str) -> subprocess.CompletedProcess[str]:
    """Run `make release`'s script on a copy of the Compose file, with a Docker that needs no engine."""
    for name in ("scripts", "bin"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "scripts" / "pin-images", folder / "scripts")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    (folder / "bin" / "docker").write_text(DOCKER)
    (folder / "bin" / "docker").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in BASE_IMAGES}
    environment = {**kept, **images, "PATH": f"{folder}/bin:{kept['PATH']}"}
    return subprocess.run(["scripts/pin-images"], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_compose_file_of_a_release_has_all_base_images_by_digest(tmp_path):
    printed = release(tmp_path)
    pinned = {name: f"{image}@sha256:{sha256(image.encode()).hexdigest()}" for name, image in BASE_IMAGES.items()}
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == "".join(f"{name}={image}\n" for name, image in pinned.items())
    expected = TEXT
    for name, image in BASE_IMAGES.items():
        expected = expected.replace(f"${{{name}:-{image}}}", f"${{{name}:-{pinned[name]}}}")
    written = (tmp_path / "dist" / "docker-compose.yml").read_text(encoding="utf-8")
    assert written == expected
    bases = re.findall(r"\$\{(\w+_IMAGE):-([^}]*)\}", written)
    assert {image for name, image in bases if not name.startswith("HELDOUT_")} == set(pinned.values())


def test_a_release_without_a_registry_writes_nothing(tmp_path):
    refused = release(tmp_path, REDIS_IMAGE="mirror.example/missing:8")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no registry has mirror.example/missing:8" in refused.stderr
    assert not (tmp_path / "dist" / "docker-compose.yml").exists()


def _compose_is_here() -> bool:
    docker = shutil.which("docker")
    command = [str(docker), "compose", "version"]
    return docker is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _compose_is_here(), reason="Docker Compose is not installed")
@pytest.mark.parametrize("profiles", [[], ["--profile", "gpu"], ["--profile", "tls"]], ids=["cpu", "gpu", "tls"])
def test_compose_accepts_the_file(profiles):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    command = ["docker", "compose", "--env-file", os.devnull, *profiles, "config", "--quiet"]
    without = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "set it in .env" in without.stderr
    secrets = dict.fromkeys(SECRETS, "p@ss/:$#'\"")
    valid = subprocess.run(command, cwd=ROOT, env={**kept, **secrets}, capture_output=True, text=True, check=False)
    assert (valid.returncode, valid.stderr) == (0, "")
    shown = [*command[:-1], "--format", "json"]
    for address, expected in ({}, "127.0.0.1"), ({"HELDOUT_PUBLISH_ADDRESS": "0.0.0.0"}, "0.0.0.0"):
        environment = {**kept, **secrets, **address}
        config = subprocess.run(shown, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        [port] = json.loads(config.stdout)["services"]["api"]["ports"]
        assert (port["host_ip"], port["published"]) == (expected, "8000")
