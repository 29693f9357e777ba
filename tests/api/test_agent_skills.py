"""The API serves the skill for coding assistants, as version 0.2.0 of Agent Skills Discovery asks."""

import hashlib
import io
import tarfile
from pathlib import Path
from urllib.parse import urljoin

import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api import agent_skills
from api.http import problems

SKILL = Path(__file__).resolve().parents[2] / "skills" / "heldout"
FILES = {str(path.relative_to(SKILL)): path.read_bytes() for path in SKILL.rglob("*") if path.is_file()}
INDEX = "/.well-known/agent-skills/index.json"


def make_client() -> TestClient:
    app = FastAPI(redirect_slashes=False)
    agent_skills.install(app)
    problems.install(app, [])
    return TestClient(app, raise_server_exceptions=False)


def test_the_index_names_an_archive_with_exactly_the_files_of_the_repository() -> None:
    client = make_client()
    answer = client.get(INDEX)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["$schema"] == "https://schemas.agentskills.io/discovery/0.2.0/schema.json"
    [skill] = answer.json()["skills"]
    front_matter = yaml.safe_load(FILES["SKILL.md"].decode().split("---\n")[1])
    assert {name: skill[name] for name in ("name", "description", "type")} == {
        "name": front_matter["name"], "description": front_matter["description"], "type": "archive",
    }  # fmt: skip
    archive = client.get(urljoin(INDEX, skill["url"]))
    assert archive.headers["content-type"] == "application/gzip"
    assert skill["digest"] == f"sha256:{hashlib.sha256(archive.content).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as opened:
        assert {member.name: opened.extractfile(member).read() for member in opened} == FILES


def test_each_file_is_served_by_itself_and_no_other() -> None:
    client = make_client()
    [skill] = client.get(INDEX).json()["skills"]
    assert sorted(skill["files"]) == sorted(FILES)
    for path, content in FILES.items():
        address = urljoin(INDEX, f"{skill['name']}/{path}")
        answer = client.get(address)
        assert (answer.content, answer.headers["content-type"]) == (content, "text/markdown; charset=utf-8")
        assert client.head(address).status_code == 200
    for path in ("", "heldout/SKILL", "heldout/%2e%2e/index.json", "other/SKILL.md", "%2e%2e/%2e%2e/pyproject.toml"):
        assert client.get(f"/.well-known/agent-skills/{path}").status_code == 404, path
