"""Small models that cost much to check do not keep another owner's model waiting, with one slot and real processes."""

import json
import time
from pathlib import Path

import httpx2
import keras
import pytest

from models.database import Database
from models.store import keys
from tests.e2e.running import until
from tests.e2e.stack import Stack
from tests.worker.training.costly_models import make_chain, make_nested, make_sequence, make_slow

# Each would take minutes or forever. That of `make_slow` ends after half a minute of processor time.
HOSTILE = (make_sequence(3900), make_nested(10, 10), make_chain(1500), make_slow())
ORDINARY_S = 240.0  # after at most one of these, on busy cores


def make_client(stack: Stack, owner: str) -> httpx2.Client:
    database = Database(stack.database_url)
    with database.write() as session:
        key = keys.make(session, owner)
    database.dispose()
    return httpx2.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False)


def upload(client: httpx2.Client, content: str) -> str:
    answer = client.post("/v1/models", content=content.encode())
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.proof
def test_another_owners_model_is_checked_soon_among_costly_ones(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "heldout.db"
    file.write_bytes(sqlite_template.read_bytes())
    stack = Stack(tmp_path / "stack", f"sqlite:///{file}")
    try:
        stack.start_api()
        stack.start_worker(HELDOUT_SLOTS="1")
        with make_client(stack, "mallory") as hostile, make_client(stack, "ada") as other:
            sent = [upload(hostile, json.dumps(model)) for model in (*HOSTILE, make_slow())]
            layers = keras.layers
            small = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
            began = time.monotonic()
            own = upload(other, small.to_json())
            until(lambda: other.get(f"/v1/models/{own}").json()["status"] == "ready", "the check", ORDINARY_S)
            took_s = time.monotonic() - began

            def list_ended() -> list[dict]:
                found = [hostile.get(f"/v1/models/{model}").json() for model in sent]
                return found if all(model["status"] == "rejected" for model in found) else []

            rejected = until(list_ended, "the ends of all checks", 1200)
    finally:
        stack.close()
    print(f"another owner's model was checked within {took_s:.1f} s")
    assert [model["error"]["code"] for model in rejected] == ["model_too_large"] * 3 + ["timed_out"] * 2
