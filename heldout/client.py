"""The typed HTTP client: a method for each route of jobs and datasets, safe repeats, failures as two exceptions.

with Client("http://127.0.0.1:8000", "ho_…") as client:
    job = client.submit(spec)
    for job in client.watch(job["id"]):
        print(job["status"], job["progress"])
    print(client.metrics(job["id"])["final"])
"""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Self, cast
from urllib.parse import quote, urlsplit

import httpx2

from heldout import __version__
from heldout.answers import (
    TERMINAL_STATUSES,
    Dataset,
    Estimate,
    Event,
    Job,
    Metrics,
    QueuePosition,
    SplitIndices,
)
from heldout.errors import DatasetNotFound, FieldError, HeldoutError, JobNotFound

PAGE = 200
LONG_POLL_S = 60
TIMEOUT_S = 30.0
# A service that has never answered is not there; one that has is perhaps being restarted.
FIRST_PATIENCE_S = 1.0
PATIENCE_S = 30.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


class ApiProblem(Exception):
    """The service refused or could not do what it was asked; its text says why and what to do.

    `code` is stable (see the reference of error codes); `errors` names the refused fields of the body.
    """

    def __init__(
        self,
        code: str,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.document = dict(document or {"code": code, "status": status, "title": title, "detail": detail})


class NoService(Exception):
    """Nothing that is a Heldout service answers; the text says what was tried and what to do."""


def is_loopback(url: str) -> bool:
    """Whether an address is one of this machine alone."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Client:
    """One service and one key. Use it as a context manager; it may be shared by threads.

    Args:
        url: the service's address, such as `http://127.0.0.1:8000`.
        api_key: `ho_<id>_<secret>`.
        patience_s: how long requests that can safely be repeated are repeated while a service that has answered
            before does not answer now, or answers 429 or 503.
        transport: how requests travel; for tests.
    Raises:
        NoService: from every method, if nothing answers.
        ApiProblem: from every method, if the service answers with a problem.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        if not _is_address(url):
            raise NoService(f"{url!r} is not an address of a service, such as http://127.0.0.1:8000.")
        if not (api_key.isascii() and api_key.isprintable()):
            raise NoService("The API key holds characters that no key has. Copy it again, as `ho_<id>_<secret>`.")
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        self._answered = False
        secure = url.startswith("https://")
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": f"heldout/{__version__}"},
            timeout=httpx2.Timeout(TIMEOUT_S, connect=5.0),
            transport=transport,
            # Certificates take a while to load. A proxy is never asked for an address of this machine.
            verify=secure,
            trust_env=secure or not is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- jobs --------------------------------------------------------------------------------------

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Queue a training job. A key is drawn where none is given, so that a repeat never queues a second one.

        Raises:
            ValueError: if the idempotency key is not 1 to 255 printable ASCII characters.
        """
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
            raise ValueError(
                f"Received the idempotency key {key[:40]!r}; expected 1 to 255 printable ASCII characters."
            )
        headers = {"Idempotency-Key": key}
        return cast(Job, self._json("POST", "/v1/jobs", body=spec, headers=headers, repeatable=True))

    def estimate(self, spec: Mapping[str, Any]) -> Estimate:
        """What a spec would cost; nothing is queued."""
        return cast(Estimate, self._json("POST", "/v1/jobs", body=spec, params={"dry_run": "true"}, repeatable=True))

    def get(self, job_id: str) -> Job:
        return cast(Job, self._json("GET", _job(job_id)))

    def wait(self, job_id: str, *, version: int | None = None, wait_s: int = LONG_POLL_S) -> Job | None:
        """The job as soon as its version differs from `version`, or None if it is the same after `wait_s`.

        Without a version: the job when it has ended, or as it is after `wait_s` (0–60).
        """
        headers = {} if version is None else {"If-None-Match": f'"{version}"'}
        response = self._send(
            "GET", _job(job_id), params={"wait": wait_s}, headers=headers, timeout_s=wait_s + TIMEOUT_S
        )
        return None if response.status_code == 304 else cast(Job, _decoded(response))

    def watch(self, job_id: str, *, wait_s: int = LONG_POLL_S) -> Iterator[Job]:
        """The job now and after each change, until it has ended."""
        job = self.get(job_id)
        yield job
        while job["status"] not in TERMINAL_STATUSES:
            changed = self.wait(job_id, version=job["version"], wait_s=wait_s)
            if changed is not None:
                job = changed
                yield job

    def jobs(
        self,
        *,
        statuses: Sequence[str] = (),
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = PAGE,
    ) -> Iterator[Job]:
        """The owner's jobs, newest first; further pages are fetched as they are needed."""
        params: list[tuple[str, str]] = [("status", status) for status in statuses]
        if dataset is not None:
            params.append(("dataset", dataset))
        params += [(f"metadata[{key}]", value) for key, value in (metadata or {}).items()]
        return cast(Iterator[Job], self._pages("/v1/jobs", params, page_size))

    def cancel(self, job_id: str) -> Job:
        return cast(Job, self._json("POST", _job(job_id, "cancel")))

    def pause(self, job_id: str) -> Job:
        return cast(Job, self._json("POST", _job(job_id, "pause")))

    def resume(self, job_id: str) -> Job:
        return cast(Job, self._json("POST", _job(job_id, "resume")))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """A new job with the spec of one that has ended; the key is as for `submit`."""
        headers = _idempotent(idempotency_key)
        return cast(Job, self._json("POST", _job(job_id, "retry"), headers=headers, repeatable=True))

    def delete(self, job_id: str) -> None:
        self._send("DELETE", _job(job_id))

    def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Job:
        """Change a queued job; what is None stays. `metadata` replaces all of it."""
        wanted = {"priority": priority, "name": name, "metadata": metadata}
        body = {field: value for field, value in wanted.items() if value is not None}
        return cast(Job, self._json("PATCH", _job(job_id), body=body, repeatable=True))

    def metrics(self, job_id: str) -> Metrics:
        return cast(Metrics, self._json("GET", _job(job_id, "metrics")))

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """Events with a number above `after`, oldest first."""
        while True:
            page = self._json("GET", _job(job_id, "events"), params={"after": after, "limit": PAGE})
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1]["id"]

    def queue(self, job_id: str) -> QueuePosition:
        return cast(QueuePosition, self._json("GET", _job(job_id, "queue")))

    def download_model(self, job_id: str, to: Path) -> int:
        """Write the `.keras` file to a path, whole or not at all; gives back its size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return self._download(_job(job_id, "model"), to)

    def download_predictions(self, job_id: str, to: Path) -> int:
        """Write `predictions.npz` to a path, whole or not at all; gives back its size in bytes.

        Raises:
            OSError: if the file cannot be written.
        """
        return self._download(_job(job_id, "predictions"), to)

    # --- datasets ----------------------------------------------------------------------------------

    def datasets(self, *, page_size: int = PAGE) -> Iterator[Dataset]:
        """The datasets that the owner sees, bundled ones included, newest first."""
        return cast(Iterator[Dataset], self._pages("/v1/datasets", [], page_size))

    def dataset(self, dataset_id: str) -> Dataset:
        return cast(Dataset, self._json("GET", _dataset(dataset_id)))

    def dataset_splits(self, dataset_id: str) -> SplitIndices:
        return cast(SplitIndices, self._json("GET", _dataset(dataset_id) + "/splits"))

    # --- requests ----------------------------------------------------------------------------------

    def _pages(self, path: str, params: Sequence[tuple[str, str]], page_size: int) -> Iterator[Any]:
        after: list[tuple[str, str]] = []
        while True:
            page = self._json("GET", path, params=[*params, ("limit", str(page_size)), *after])
            yield from page["data"]
            if not page["has_more"]:
                return
            after = [("after", page["next"])]

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return _decoded(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with self._opened(method, path, **options) as response:
            with self._connection():
                response.read()
            return response

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        repeatable: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer with its body still to be read, after as many repeats as are safe and worthwhile.

        GET, and what is `repeatable`, is sent again after any failure of the connection; other requests only where
        nothing was received by the service or nothing was changed by it.
        """
        everything: dict[str, Any] = {"params": params, "headers": dict(headers or {})}
        if body is not None:
            everything["content"] = json.dumps(body).encode()
            everything["headers"]["Content-Type"] = "application/json"
        if timeout_s is not None:
            everything["timeout"] = httpx2.Timeout(timeout_s, connect=5.0)
        request = self._http.build_request(method, path, **everything)
        response = self._with_patience(request, repeatable or method == "GET")
        try:
            yield response
        finally:
            response.close()

    def _with_patience(self, request: httpx2.Request, repeatable: bool) -> httpx2.Response:
        started, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            failure: Exception
            try:
                response = self._http.send(request, stream=True)
                self._answered = True
                if response.status_code < 400:
                    return response
                with self._connection():
                    response.read()
                failure, wait_s = _problem(response), _asked_to_wait(response)
            except httpx2.TransportError as error:
                failure, wait_s = self._no_answer(error), None
                if repeatable or isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                    wait_s = pause_s
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            patience_s = self.patience_s if self._answered else min(self.patience_s, FIRST_PATIENCE_S)
            if wait_s is None or time.monotonic() + wait_s - started > patience_s:
                raise failure
            time.sleep(wait_s)

    def _download(self, path: str, to: Path) -> int:
        with self._opened("GET", path) as response, _written_at_once(to) as file, self._connection():
            return sum(file.write(chunk) for chunk in response.iter_bytes())

    @contextmanager
    def _connection(self) -> Iterator[None]:
        """A connection that breaks off while a body is read is NoService."""
        try:
            yield
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise self._no_answer(error) from None

    def _no_answer(self, error: Exception) -> NoService:
        why = "it took too long" if isinstance(error, httpx2.TimeoutException) else str(error) or type(error).__name__
        return NoService(f"No Heldout service answers at {self.url} ({why}).")


def _idempotent(key: str | None) -> dict[str, str]:
    key = uuid.uuid4().hex if key is None else key
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
        raise ValueError(f"The idempotency key {key[:40]!r} is not 1 to 255 printable ASCII characters.")
    return {"Idempotency-Key": key}


def _job(job_id: str, part: str = "") -> str:
    return f"/v1/jobs/{_segment(job_id, JobNotFound(job_id))}" + (f"/{part}" if part else "")


def _dataset(dataset_id: str) -> str:
    return f"/v1/datasets/{_segment(dataset_id, DatasetNotFound(dataset_id))}"


def _segment(text: str, missing: HeldoutError) -> str:
    """One segment of a path. What a user types as an id may name another route: then it is no id of anything."""
    if "/" in text or not text.strip("."):
        raise ApiProblem(missing.code, missing.status, missing.title, missing.detail)
    return quote(text, safe="")


def _decoded(response: httpx2.Response) -> Any:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NoService(f"What answers at {response.url.copy_with(path='/', query=None)} is not a Heldout service.")
    return answer


def _problem(response: httpx2.Response) -> ApiProblem:
    """The problem document of an answer; one in its stead where a proxy or another program answered."""
    document: Any = None
    with suppress(ValueError):
        document = response.json()
    if not isinstance(document, dict) or "code" not in document:
        title = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        return ApiProblem("unexpected_answer", response.status_code, title, f"{title} from {response.url}.")
    return ApiProblem(
        code=str(document["code"]),
        status=response.status_code,
        title=str(document.get("title", "")),
        detail=str(document.get("detail", "")),
        errors=[
            FieldError(str(error.get("pointer", "")), str(error.get("detail", "")))
            for error in document.get("errors") or ()
        ],
        document=document,
    )


def _asked_to_wait(response: httpx2.Response) -> float | None:
    """Seconds after which the same request may be sent again, where the service says so: it has changed nothing."""
    if response.status_code not in {409, 429, 503}:
        return None
    try:
        return max(0.1, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None


@contextmanager
def _written_at_once(to: Path) -> Iterator[BinaryIO]:
    """A file beside `to` that takes its place when the block ends well, and vanishes otherwise."""
    if to.exists() and not to.is_file():  # a pipe or a device is written to, never replaced
        with to.open("wb") as file:
            yield file
        return
    to = Path(os.path.realpath(to))
    descriptor, name = tempfile.mkstemp(prefix=f".{to.name}.", dir=to.parent)
    try:
        with os.fdopen(descriptor, "wb") as whole:
            yield whole
            whole.flush()
            os.fsync(whole.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, to)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
