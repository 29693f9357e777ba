"""Predictions compared with raw onnxruntime, and with a bare FastAPI route that returns a constant for the same body.

One job of examples/overfit.json (93,962 parameters, 28×28) answers. The sides alternate; figures are medians of rounds.
`python -m benchmarks.predictions`; BENCH_SECONDS and BENCH_ROUNDS set the duration.
"""

import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load import Measured, load, request
from benchmarks.serving import served
from examples.demo import TemporaryService
from heldout.client.client import Client
from heldout.errors import NotReady
from heldout.service.settings import make_embedded_settings
from models import bundled
from models.database import Database
from models.store import keys

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = (1, 8, 32)
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
BATCH = 256
BATCHES = 30
COLD_STARTS = 5


def main() -> None:
    """Print a line for each comparison."""
    with TemporaryService() as service:
        with Client(service.url, service.api_key) as client:
            job_id, model = _trained(client)
        home = service.folder / "home"
        images = bundled.BUNDLED["mnist5k"].read(Path()).images
        _post(int(service.url.rpartition(":")[2]), job_id, service.api_key, _png(images[0])).raise_for_status()
        print(f"load averages at the start: {' '.join(f'{one:.2f}' for one in os.getloadavg())}")
        _cold_starts(home, job_id, service.api_key, images)
        with _predicting(home) as port:
            _batches(port, job_id, service.api_key, model, images[:BATCH])
            with (
                served("benchmarks.bare_prediction:app", [], {}) as bare,
                _api_before(home, port) as api,
                _nginx_before(service.folder, port, api) as nginx,
                _predicting(home, processes=2) as pair,
            ):
                ports = {"direct": port, "to two processes": pair, "through nginx": nginx, "through the API": api}
                there = {name: one for name, one in ports.items() if one is not None}
                _single_images(there, bare.port, job_id, service.api_key, images[0])
                _others_while_busy(home, api, job_id, service.api_key, images[0])
        print(f"load averages at the end: {' '.join(f'{one:.2f}' for one in os.getloadavg())}")


def _trained(client: Client) -> tuple[str, bytes]:
    """Return a job that has ended, and its ONNX file."""
    spec = json.loads((ROOT / "examples" / "overfit.json").read_text())
    spec["training"]["epochs"] = 1
    job = client.jobs.poll(client.jobs.create(spec).id)
    if job is None or not job.has_ended:
        raise SystemExit("The training takes more than a minute.")
    while True:
        try:
            client.jobs.export_report(job.id, "onnx", wait_s=30)
            break
        except NotReady:
            pass
    file = Path(os.environ.get("TMPDIR", "/tmp"), f"{job.id}.onnx")
    client.jobs.download_model(job.id, file, "onnx")
    try:
        return job.id, file.read_bytes()
    finally:
        file.unlink()


def _environment(home: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")}
    return kept | {"HELDOUT_HOME": str(home), "HELDOUT_RATE": "999999/second"} | settings


@contextmanager
def _running(command: list[str], port: int, **options: Any) -> Iterator[int]:
    """Run a program, from its first response on the port on. Yields the port."""
    process = subprocess.Popen(command, cwd=ROOT, **options)
    try:
        _until_answers(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _predicting(home: Path, processes: int = 1) -> AbstractContextManager[int]:
    """Run processes for predictions on the home's database. Yields their port."""
    port = _free_port()
    where = {"HELDOUT_HOST": "127.0.0.1", "HELDOUT_PORT": str(port), "HELDOUT_PREDICT_PROCESSES": str(processes)}
    return _running([sys.executable, "-m", "predict"], port, env=_environment(home, LOG_LEVEL="WARNING", **where))


def _api_before(home: Path, predict_port: int) -> AbstractContextManager[int]:
    """Run an API that passes requests on to that port and logs each one. Yields its own port."""
    port = _free_port()
    url = f"http://127.0.0.1:{predict_port}"
    environment = _environment(home, HELDOUT_HOST="127.0.0.1", HELDOUT_PORT=str(port), HELDOUT_PREDICT_URL=url)
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return _running([sys.executable, "-m", "api", "serve"], port, env=environment, **nowhere)


@contextmanager
def _nginx_before(folder: Path, predict_port: int, api_port: int) -> Iterator[int | None]:
    """Run nginx with proxy/nginx.conf, but without TLS, which the load does not speak. None if it is not installed."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        print("nginx is not installed, so nothing goes through it: apt-get install nginx-light")
        yield None
        return
    port = _free_port()
    text = (ROOT / "proxy" / "nginx.conf").read_text()
    for theirs, ours in {
        "/tmp/": f"{folder}/",
        "server predict:8000": f"server 127.0.0.1:{predict_port}",
        "server api:8000": f"server 127.0.0.1:{api_port}",
        "listen 8080;": f"listen 127.0.0.1:{_free_port()};",
        "listen 8443 ssl;": f"listen 127.0.0.1:{port};",
        "http2 on;": "",
        "ssl_certificate /etc/nginx/tls/fullchain.pem;": "",
        "ssl_certificate_key /etc/nginx/tls/privkey.pem;": "",
        # Else it would close each connection after a thousand requests, and the load opens no other.
        "keepalive_timeout 30s;": "keepalive_timeout 30s; keepalive_requests 10000000;",
    }.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with _running(command, port):
        yield port


def _until_answers(port: int) -> None:
    for _ in range(600):
        with suppress(httpx2.TransportError):
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=30).raise_for_status()
            return
        time.sleep(0.1)
    raise SystemExit(f"Nothing answers on port {port}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cold_starts(home: Path, job_id: str, key: str, images: NDArray[np.uint8]) -> None:
    """Time the first answer of a model that is not loaded yet, and the start of the process."""
    starts, firsts = [], []
    for _ in range(COLD_STARTS):
        began = time.perf_counter()
        with _predicting(home) as port:
            starts.append(time.perf_counter() - began)
            began = time.perf_counter()
            _post(port, job_id, key, _png(images[0])).raise_for_status()
            firsts.append(time.perf_counter() - began)
    _print("start of a process, s", starts)
    _print("first answer of a cold model, s", firsts)


def _batches(port: int, job_id: str, key: str, model: bytes, images: NDArray[np.uint8]) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pixels = images.astype(np.float32)
    written = io.BytesIO()
    np.save(written, images)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "pixels",
                    "datatype": "FP32",
                    "shape": list(pixels.shape),
                    "parameters": {"binary_data_size": pixels.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}) as client:
        sides: dict[str, Callable[[], object]] = {
            "raw": lambda: session.run(["probabilities"], {"pixels": pixels}),
            "predict, .npy": lambda: client.post(
                f"/v1/jobs/{job_id}/predict", content=written.getvalue()
            ).raise_for_status(),
            "v2, binary": lambda: client.post(
                f"/v2/models/{job_id}/infer",
                content=head + pixels.tobytes(),
                headers={"Inference-Header-Content-Length": str(len(head))},
            ).raise_for_status(),
        }
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, ask in sides.items():
                ask()
                began = time.perf_counter()
                for _ in range(BATCHES):
                    ask()
                taken[name].append((time.perf_counter() - began) / BATCHES)
    print(f"batches of {BATCH}:")
    for name, seconds in taken.items():
        ratio = statistics.median(raw / ours for raw, ours in zip(taken["raw"], seconds, strict=True))
        rate = BATCH / statistics.median(seconds)
        print(f"  {name:<16} {1000 * statistics.median(seconds):7.2f} ms  {rate:9,.0f} images/s  {ratio:.2f} of raw")


def _single_images(ports: dict[str, int], bare: int, job_id: str, key: str, image: NDArray[np.uint8]) -> None:
    body = _png(image)
    ours = _message(f"/v1/jobs/{job_id}/predict", key, body)
    theirs = _message("/predict", key, body)
    print(f"single images ({len(body)} bytes of PNG), {SECONDS:g} s, medians of {ROUNDS} rounds:")
    for clients in CLIENTS:
        found: dict[str, list[Measured]] = {name: [] for name in (*ports, "bare")}
        for _ in range(ROUNDS):
            for name, port in ports.items():
                found[name].append(load(port, ours, clients=clients, seconds=SECONDS, status=200))
            found["bare"].append(load(bare, theirs, clients=clients, seconds=SECONDS, status=200))
        for name, measured in found.items():
            pairs = zip(measured, found["bare"], strict=True)
            ratio = statistics.median(mine.per_second / other.per_second for mine, other in pairs)
            rate, p50, p99 = (
                statistics.median(getattr(one, what) for one in measured) for what in ("per_second", "p50_ms", "p99_ms")
            )
            print(
                f"  {clients:>3} clients  {name:<16} {rate:7.0f}/s  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {ratio:.2f}"
            )


def _others_while_busy(home: Path, api: int, job_id: str, key: str, image: NDArray[np.uint8]) -> None:
    """Time another owner's list of jobs while one owner's predictions take everything."""
    database = Database(make_embedded_settings(home).database)
    with database.write() as session:
        listing = request("GET", "/v1/jobs", key=keys.make(session, "other"))
    database.dispose()
    ours = _message(f"/v1/jobs/{job_id}/predict", key, _png(image))
    with ThreadPoolExecutor(1) as thread:
        for clients in (0, *CLIENTS):
            busy = thread.submit(load, api, ours, clients=clients, seconds=SECONDS + 1, status=200) if clients else None
            time.sleep(0.5)
            found = load(api, listing, clients=1, seconds=SECONDS, status=200)
            asked = "" if busy is None else f", predictions {busy.result().per_second:.0f}/s"
            times = f"p50 {found.p50_ms:.1f} ms  p99 {found.p99_ms:.1f} ms"
            print(f"  GET /v1/jobs of another owner during requests of {clients:>2} clients: {times}{asked}")


def _message(path: str, key: str, body: bytes) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: image/png",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def _post(port: int, job_id: str, key: str, body: bytes) -> httpx2.Response:
    return httpx2.post(
        f"http://127.0.0.1:{port}/v1/jobs/{job_id}/predict",
        content=body,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "image/png"},
        timeout=60,
    )


def _png(image: NDArray[np.uint8]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image[..., 0]).save(written, "PNG")
    return written.getvalue()


def _print(name: str, values: list[float]) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"{name:<34} median {middle:.3f}   min {low:.3f}   max {high:.3f}   of {len(values)}")


if __name__ == "__main__":
    main()
