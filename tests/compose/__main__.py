"""`make compose-test`: builds the image, runs the real stack, damages it, and removes everything."""

import hashlib
import http.client
import io
import json
import re
import secrets
import signal
import socket
import ssl
import sys
import tempfile
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.compose.client import Api, Load
from tests.compose.engine import ROOT, TLS, Engine, NoEngine, Stack, run
from tests.worker.machine.probe import ALLOWED

# Characters that break URLs and shell words that were built without quoting. A single quote would end a value in .env.
AWKWARD = '@:/?#&%$\\" ;='
EXAMPLES = ("overfit", "regularized", "augmented")
LEASE_S = 8


class Scenario:
    """The steps in order. Each prepares what the next ones need."""

    def __init__(self, stack: Stack, port: int, tls_port: int, certificate: Path, passwords: list[str]) -> None:
        self.stack = stack
        self.tls_port = tls_port
        self.certificate = certificate
        self.api = Api(port)
        self.passwords = passwords
        self.logs = ""
        self.models: dict[str, str] = {}  # job → SHA-256 of its model

    def build_the_image(self) -> str:
        self.stack.compose(*TLS, "build", timeout_s=900)
        size = run("docker", "image", "inspect", "--format", "{{.Size}}", self.stack.images[0]).stdout
        return f"{int(size) / 1e9:.2f} GB"

    def start_the_stack(self) -> str:
        self.stack.up()
        assert self.api.ask("GET", "/readyz").status == 200
        users = {
            service: self.stack.compose("exec", "-T", service, "id", "-u").strip()
            for service in ("postgres", "redis", "api", "predict")
        }
        assert "0" not in users.values(), users
        published = self.stack.compose("port", "api", "8000").strip()
        assert published == f"127.0.0.1:{self.api.port}", "other machines would reach plain HTTP"
        return f"users {users}"

    def make_a_key(self) -> str:
        printed = self.stack.compose("exec", "-T", "api", "heldout", "keys", "create", "--owner", "me")
        assert re.fullmatch(r"ho_\w+_[\w-]+\n", printed), "more than the key was printed"
        assert self.api.ask("GET", "/v1/jobs").status == 401
        self.api.key = printed.strip()
        return self.api.key[:11] + "…"

    def check_from_inside(self) -> str:
        found = self.stack.compose("exec", "-T", "worker", "heldout", "check")
        read = "from urllib.request import urlopen; print(urlopen('http://worker:9090/metrics').read().decode())"
        assert "heldout_" in self.stack.compose("exec", "-T", "api", "python", "-c", read), "no metrics of workers"
        return "; ".join(" ".join(line.split()[:2]) for line in found.splitlines())

    def read_an_upload_behind_closed_doors(self) -> str:
        make = (
            "import numpy as n; x = n.random.default_rng(1).integers(0, 255, (90, 8, 8), n.uint8);"
            "n.savez('/tmp/a.npz', x=x, y=['cat', 'dog'] * 45)"
        )
        push = f'python -c "{make}" && heldout datasets push /tmp/a.npz --name pets'
        variables = ("-e", f"HELDOUT_API_KEY={self.api.key}", "-e", "HELDOUT_URL=http://127.0.0.1:8000")
        self.stack.compose("exec", "-T", *variables, "api", "sh", "-c", push)
        # Started like the worker: with its user and its capabilities.
        command = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-worker"]["command"]
        as_worker = command[: command.index("celery")]
        script = (ROOT / "tests/compose/closed_doors.py").read_text()
        probe = (ROOT / "tests/worker/machine/probe.py").read_text()
        printed = self.stack.compose("exec", "-T", "worker", *as_worker, "python", "-c", script, stdin=probe)
        answer, worker_user, rights_of_children = json.loads(printed)
        assert {name for name, how in answer["said"].items() if how == "done"} == ALLOWED, answer
        assert worker_user == 10001
        assert rights_of_children == ["0" * 16], "the process that trains may become another user"
        assert answer["user"] > 65535
        return f"as user {answer['user']}, the worker being {worker_user}"

    def train_the_three_reference_jobs(self) -> str:
        specs = {name: json.loads((ROOT / f"examples/{name}.json").read_text()) for name in EXAMPLES}
        ids = {name: self.api.submit(spec) for name, spec in specs.items()}
        accuracies = []
        for name, job_id in ids.items():
            job = self.api.ended(job_id, 120)
            assert job["status"] == "succeeded", job
            metrics = self.api.get(f"/v1/jobs/{job_id}/metrics")
            assert [epoch["epoch"] for epoch in metrics["epochs"]] == list(
                range(1, specs[name]["training"]["epochs"] + 1)
            )
            self.models[job_id] = self._model(job_id)
            accuracies.append(f"{name} {metrics['final']['test']['accuracy']:.3f}")
        return "test accuracy: " + ", ".join(accuracies)

    def predict_an_image(self) -> str:
        job_id = next(iter(self.models))
        tensor = {"name": "pixels", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": [0] * 784}
        began = time.monotonic()
        answer = self.api.ask("POST", f"/v2/models/{job_id}/infer", {"inputs": [tensor]})
        took_s = time.monotonic() - began
        assert answer.status == 200, answer.body[:300]
        [probabilities] = answer.json["outputs"]
        assert abs(sum(probabilities["data"]) - 1) < 1e-5, probabilities
        return f"{took_s:.1f} s with the export of its model"

    def put_tls_in_front(self) -> str:
        self.stack.up_with_tls()
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = http.client.HTTPSConnection("localhost", self.tls_port, timeout=20, context=context)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/session", json.dumps({"key": self.api.key}), headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201
        assert "Secure" in answer.headers["Set-Cookie"], "the API did not believe its proxy"
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 404
        connection.close()
        user = self.stack.compose(*TLS, "exec", "-T", "proxy", "id", "-u").strip()
        assert user != "0"
        self.logs += self.stack.compose(*TLS, "logs", "--no-log-prefix", "proxy")
        self.stack.compose(*TLS, "rm", "--stop", "--force", "proxy")
        return f"user {user}"

    def scale_workers_to_two(self) -> str:
        self.stack.up("--scale", "worker=2")
        assert len(self.stack.containers("worker")) == 2
        return "both healthy"

    def kill_the_worker_of_a_running_job(self) -> str:
        job_id = self.api.submit(self._long_job(epochs=20))
        self.api.reached(job_id, 2)
        [host] = self.api.workers_of(job_id)
        [victim] = [container for container in self.stack.containers("worker") if container.startswith(host)]
        run("docker", "kill", "--signal", "KILL", victim)
        killed = time.monotonic()
        while len(workers := self.api.workers_of(job_id)) < 2:
            assert time.monotonic() - killed < 60, "no worker took the job over"
            time.sleep(0.2)
        taken_s = time.monotonic() - killed
        job = self.api.ended(job_id, 120)
        assert (job["status"], job["attempt"]) == ("succeeded", 2), job
        assert workers[1] != host
        epochs = [epoch["epoch"] for epoch in self.api.get(f"/v1/jobs/{job_id}/metrics")["epochs"]]
        assert epochs == list(range(1, 21)), epochs
        self.models[job_id] = self._model(job_id)
        return f"on the other worker after {taken_s:.1f} s (lease {LEASE_S} s)"

    def bring_the_killed_worker_back(self) -> str:
        self.stack.up("--scale", "worker=2")
        return f"{len(self.stack.containers('worker'))} workers"

    def stop_and_start_postgresql_and_redis_under_load(self) -> str:
        running = self.api.submit(self._long_job(epochs=20))
        self.api.reached(running, 1)
        with Load(self.api) as load:
            time.sleep(3)
            self.stack.compose("stop", "postgres")
            self._until("/readyz", 503)
            time.sleep(4)
            self.stack.compose("start", "postgres")
            self._until("/readyz", 200)
            time.sleep(3)
            self.stack.compose("stop", "redis")
            time.sleep(5)
            assert self.api.ask("GET", "/readyz").status == 200, "submitting needs no broker"
            self.stack.compose("start", "redis")
            time.sleep(3)
        assert not load.wrong, load.wrong[:5]
        assert load.statuses["POST 503"] > 0, "no request of the load met the missing database"
        for job_id in (running, *load.accepted.values()):
            job = self.api.ended(job_id, 120)
            assert job["status"] == "succeeded", job
        stored = {job["id"] for job in self.api.all_jobs("&metadata[load]=yes")}
        assert stored == set(load.accepted.values()), "accepted and stored differ"
        counts = ", ".join(f"{count} × {status}" for status, count in sorted(load.statuses.items()))
        return f"{counts}; slowest {load.slowest_s:.1f} s; all {len(load.accepted)} jobs done, each once"

    def stop_all_with_a_job_running(self) -> str:
        self.resumed = self.api.submit(self._long_job(epochs=20))
        self.api.reached(self.resumed, 2)
        self.before = self._everything()
        workers = self.stack.containers("worker")
        began = time.monotonic()
        self.stack.compose("stop", "worker")
        took_s = time.monotonic() - began
        codes = {
            run("docker", "inspect", "--format", "{{.State.ExitCode}}", worker).stdout.strip() for worker in workers
        }
        assert codes == {"0"}, f"workers ended with {codes}"
        job = self.api.get(f"/v1/jobs/{self.resumed}")
        assert (job["status"], job["failures"]) == ("queued", 0), job
        self.logs += self.stack.logs()
        self.stack.compose("down")
        return f"workers gave it back within {took_s:.1f} s"

    def start_all_again_and_find_everything(self) -> str:
        self.stack.up()
        after = self._everything()
        for job_id, stored in self.before.items():
            assert after[job_id] == stored, f"{job_id} changed"
        for job_id, digest in self.models.items():
            assert self._model(job_id) == digest, f"the model of {job_id} changed"
        job = self.api.ended(self.resumed, 120)
        assert (job["status"], job["failures"]) == ("succeeded", 0), job
        return f"{len(after)} jobs with their metrics, {len(self.models)} models; the stopped job continued"

    def look_for_secrets_in_all_logs(self) -> str:
        self.logs += self.stack.logs()
        shown = [
            form
            for secret in (*self.passwords, self.api.key.split("_", 2)[2])
            for form in {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), json.dumps(secret)}
            if form.strip('"') in self.logs
        ]
        assert not shown, f"{len(shown)} secrets are in the logs"
        return f"none in {len(self.logs.splitlines())} lines"

    def take_all_down(self) -> str:
        self.stack.remove()
        left = self.stack.leftovers()
        assert not left, left
        return "no container, volume or network is left"

    # --- what steps share ----------------------------------------------------------------------------

    def _long_job(self, epochs: int) -> Any:
        spec = json.loads((ROOT / "examples/overfit.json").read_text())
        return {**spec, "name": f"{epochs} epochs", "training": {**spec["training"], "epochs": epochs}}

    def _model(self, job_id: str) -> str:
        answer = self.api.ask("GET", f"/v1/jobs/{job_id}/model")
        assert answer.status == 200, answer.body[:300]
        with zipfile.ZipFile(io.BytesIO(answer.body)) as model:
            assert "model.weights.h5" in model.namelist()
        return hashlib.sha256(answer.body).hexdigest()

    def _everything(self) -> dict[str, Any]:
        """Return every ended job with its metrics."""
        ended = [job for job in self.api.all_jobs() if job["finished_at"]]
        return {job["id"]: (job, self.api.get(f"/v1/jobs/{job['id']}/metrics")) for job in ended}

    def _until(self, path: str, status: int, timeout_s: float = 60) -> None:
        until = time.monotonic() + timeout_s
        while (found := self.api.ask("GET", path).status) != status:
            assert time.monotonic() < until, f"{path} answers {found}, not {status}"
            time.sleep(0.2)

    def steps(self) -> list[Callable[[], str]]:
        return [
            self.build_the_image,
            self.start_the_stack,
            self.make_a_key,
            self.check_from_inside,
            self.read_an_upload_behind_closed_doors,
            self.put_tls_in_front,
            self.train_the_three_reference_jobs,
            self.predict_an_image,
            self.scale_workers_to_two,
            self.kill_the_worker_of_a_running_job,
            self.bring_the_killed_worker_back,
            self.stop_and_start_postgresql_and_redis_under_load,
            self.stop_all_with_a_job_running,
            self.start_all_again_and_find_everything,
            self.look_for_secrets_in_all_logs,
            self.take_all_down,
        ]


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with Engine() as engine:
            return bring_up(engine)
    except NoEngine as missing:
        print(f"compose-test: {missing}", file=sys.stderr)
    except KeyboardInterrupt:
        print("compose-test: interrupted", file=sys.stderr)
    return 1


def bring_up(engine: Engine) -> int:
    project = f"heldout-test-{secrets.token_hex(3)}"
    passwords = [AWKWARD + secrets.token_urlsafe(12) for _ in range(3)]
    port, tls_port = free_port(), free_port()
    folder = tempfile.TemporaryDirectory(prefix="heldout-tls-")
    certificate = make_certificate(Path(folder.name))
    variables = {
        "POSTGRES_PASSWORD": passwords[0],
        "REDIS_PASSWORD": passwords[1],
        "HELDOUT_SECRETS_KEY": passwords[2],
        "HELDOUT_PORT": str(port),
        "HELDOUT_IMAGE": f"{project}:cpu",
        "HELDOUT_PROXY_IMAGE": f"{project}:proxy",
        "HELDOUT_TLS_FOLDER": folder.name,
        "HELDOUT_TLS_PORT": f"127.0.0.1:{tls_port}",
        "HELDOUT_REDIRECT_PORT": f"127.0.0.1:{free_port()}",
        "HELDOUT_TRUSTED_PROXIES": '["172.16.0.0/12"]',
        "HELDOUT_LEASE_S": str(LEASE_S),
        "HELDOUT_HEARTBEAT_S": "2",
        "HELDOUT_RECONCILE_S": "2",
    }
    stack = Stack(project, variables, host_network=engine.stands_in)
    scenario = Scenario(stack, port, tls_port, certificate, passwords)
    began = time.monotonic()
    try:
        for step in scenario.steps():
            name = step.__name__.replace("_", " ")
            at = time.monotonic()
            try:
                outcome = step()
            except Exception:
                print("\n".join(stack.logs().splitlines()[-80:]))
                print(f"FAILED  {name}", flush=True)
                raise
            print(f"{time.monotonic() - at:6.1f} s  {name}: {outcome}", flush=True)
    finally:
        stack.remove()
        folder.cleanup()
    print(f"{time.monotonic() - began:6.1f} s  in all", flush=True)
    return 0


def make_certificate(folder: Path) -> Path:
    """Make a self-signed certificate and its key with the command of the how-to page."""
    [command] = re.findall(r"openssl req .*?fullchain\.pem\n", (ROOT / "docs/how-to/tls.md").read_text(), re.DOTALL)
    run("sh", "-c", command, cwd=folder)
    folder.chmod(0o755)
    (folder / "privkey.pem").chmod(0o644)
    return folder / "fullchain.pem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
