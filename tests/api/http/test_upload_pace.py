"""Uploads that stall, trickle or are too many are aborted or refused without delaying others."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest

from api.http import places
from api.http.places import UploadPlaces, pace_stream
from heldout.errors import TooManyUploads, UploadTooSlow
from heldout.service.settings import Settings
from tests.api.support import assert_problem, bearer, make_key, sqlite_only, start_stalled_request, wait_until


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"blobs": (settings.home / "blobs").as_uri(), "quota_uploads": 2})


async def drip(pause_s: float, count: int = 1000) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause_s)
        yield b"x"


async def count_bytes(stream: AsyncIterator[bytes]) -> int:
    return sum([len(chunk) async for chunk in stream])


@pytest.mark.parametrize(
    ("stream", "min_bytes_per_s", "max_s", "why"),
    [
        (drip(0.01), 1000, 60.0, "bytes arrived per second"),
        (drip(10), 0, 60.0, "Nothing arrived for"),
        (drip(0.01), 0, 0.1, "not complete after"),
        (drip(10), 0, 0.1, "not complete after"),
    ],
    ids=["drips", "stalls", "takes too long", "stalls to the end"],
)
def test_uploads_that_arrive_too_slowly_are_aborted(monkeypatch, stream, min_bytes_per_s, max_s, why):
    monkeypatch.setattr(places, "WINDOW_S", 1.0)
    with pytest.raises(UploadTooSlow, match=why):
        asyncio.run(count_bytes(pace_stream(stream, min_bytes_per_s, max_s)))


def test_a_fast_upload_is_accepted_even_if_storing_it_is_slow(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(places, "monotonic", lambda: now[0])

    async def stored_slowly() -> int:
        size = 0
        async for chunk in pace_stream(drip(0, 20), 100, 60.0):
            now[0] += places.WINDOW_S / 10
            size += len(chunk)
        return size

    assert asyncio.run(stored_slowly()) == 20


def test_greedy_owners_leave_places_for_others():
    places = UploadPlaces(10, 4)
    taken = []

    def fill(owner: str, stack: ExitStack) -> None:
        while True:
            stack.enter_context(places.take_for(owner))
            taken.append(owner)

    with ExitStack() as stack:
        for owner in ("ada", "eve", "ada"):
            with pytest.raises(TooManyUploads):
                fill(owner, stack)
        assert (taken.count("ada"), taken.count("eve")) == (4, 3)
        stack.enter_context(places.take_for("lone"))
    with ExitStack() as stack:
        stack.enter_context(places.take_for("ada"))


@sqlite_only
def test_an_owners_stalled_uploads_use_only_that_owners_places(service, app, key, database):
    def announced(headers: dict[str, str]) -> str:
        return (
            f"/v1/datasets/{service.post('/v1/datasets', json={'name': 'pets'}, headers=headers).json()['id']}/content"
        )

    uploads = app.state.context.uploads
    with ExitStack() as stack:
        for _ in range(2):
            path = announced(bearer(key))
            stack.enter_context(
                start_stalled_request(service, key, "PUT", path, b"start", "application/octet-stream", 10_000)
            )
        wait_until(lambda: uploads._places._taken["ada"] == 2)
        refused = service.put(announced(bearer(key)), content=b"whole")
        assert_problem(refused, 429, "quota_exceeded")
        assert "`uploads` (concurrent uploads): 2 used, 2 allowed" in refused.json()["detail"]
        assert refused.headers["retry-after"]
        other = bearer(make_key(database, "eve"))
        assert service.put(announced(other), content=b"whole", headers=other).status_code == 202
    wait_until(lambda: not uploads._places._taken)
    assert service.put(announced(bearer(key)), content=b"whole").status_code == 202


@sqlite_only
def test_stalled_forms_are_few_and_stored_in_the_data_folder(service, app, key, settings):
    """Sixteen forms of 64 MB in an in-memory temporary folder once killed the process."""
    start = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.zip"\r\n\r\n' + b"x" * 3_000_000
    kind = "multipart/form-data; boundary=B"
    uploads = app.state.context.uploads
    others = find_unnamed_files()  # a server that has just stopped may still have some

    def spooled() -> list[str]:
        return [file for file, size in find_unnamed_files().items() if file not in others and size > 1_000_000]

    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(start_stalled_request(service, key, "POST", "/v1/datasets", start, kind, 60_000_000))
        wait_until(lambda: len(spooled()) == 2)
        assert all(file.startswith(str(settings.home / "blobs")) for file in spooled())
        answer = service.post("/v1/datasets", data={"name": "pets"}, files={"file": ("x.zip", b"whole")})
        assert_problem(answer, 429, "too_many_uploads")
    wait_until(lambda: not uploads._form_places._taken and not spooled())
    answer = service.post("/v1/datasets", data={"name": "pets"}, files={"file": ("x.zip", b"whole")})
    assert answer.status_code == 201, answer.text


def find_unnamed_files() -> dict[str, int]:
    """Return the sizes of this process's open files without a name, by folder and inode."""
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it was closed in the meantime
            file, state = os.readlink(f"/proc/self/fd/{descriptor}"), os.stat(f"/proc/self/fd/{descriptor}")
            if file.endswith("(deleted)"):
                found[f"{file} {state.st_ino}"] = state.st_size
    return found


@sqlite_only
def test_a_stalled_upload_is_aborted_and_nothing_of_it_is_kept(service, key, settings, monkeypatch):
    monkeypatch.setattr(places, "WINDOW_S", 0.3)
    path = f"/v1/datasets/{service.post('/v1/datasets', json={'name': 'pets'}).json()['id']}/content"
    with start_stalled_request(service, key, "PUT", path, b"start", "application/octet-stream", 10_000) as connection:
        connection.settimeout(60)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload_too_slow" in answer
    assert [path for path in (settings.home / "blobs").rglob("*") if path.is_file()] == []
