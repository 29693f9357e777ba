"""Docker and Compose as a user calls them, for one separate stack."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Optional: a program that starts an engine if there is none, and builds local images instead of using a registry.
STAND_INS = ROOT.parent / "shared" / "docker" / "stand-ins"

UP = ("--detach", "--no-build", "--wait", "--wait-timeout", "150")
TLS = ("--profile", "tls")
# Prefixes of variables that would lead Compose to another stack, or change this one's settings.
INHERITED = ("COMPOSE_", "HELDOUT_", "POSTGRES_", "REDIS_", "AWS_")


class NoEngine(Exception):
    """There is no Docker engine with Compose. The message explains why in one line."""


def run(
    *command: str, timeout_s: float = 120, check: bool = True, stdin: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command. On failure, the error includes the end of its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, input=stdin, **options)
    if check and done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return done


class Engine:
    """The Docker engine of this machine. If it had to be started, it is stopped at the end."""

    def __init__(self) -> None:
        self._started = False
        self.stands_in = False

    def __enter__(self) -> "Engine":
        self.stands_in = STAND_INS.is_file() and os.geteuid() == 0
        running = self._answers()
        if self.stands_in:
            self._started = not running
            run(str(STAND_INS), timeout_s=600)
        elif not running:
            raise NoEngine("no Docker engine answers here: install and start Docker with Compose 2.23 or later")
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            run(str(STAND_INS), "stop", check=False)

    def _answers(self) -> bool:
        try:
            return all(
                run("docker", *words, check=False, timeout_s=30).returncode == 0
                for words in (("info",), ("compose", "version"))
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False


class Stack:
    """The repository's Compose file with its own project name, secrets and port."""

    def __init__(self, project: str, variables: Mapping[str, str], *, host_network: bool) -> None:
        """
        Args:
            variables: what the user writes into .env.
            host_network: builds use this machine's network, as stand-ins for base images need.
        """
        self.project = project
        self.images = (variables["HELDOUT_IMAGE"], variables["HELDOUT_PROXY_IMAGE"])
        self._folder = tempfile.TemporaryDirectory(prefix="heldout-compose-")
        folder = Path(self._folder.name)
        env_file = folder / ".env"
        env_file.touch(mode=0o600)
        env_file.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()), encoding="utf-8")
        self._options = ["--ansi", "never", "--project-name", project, "--env-file", str(env_file)]
        self._options += ["--file", "docker-compose.yml"]
        if host_network:
            override = folder / "host-network.json"
            services = {name: {"build": {"network": "host"}} for name in ("migrate", "worker-gpu", "proxy")}
            override.write_text(json.dumps({"services": services}), encoding="utf-8")
            self._options += ["--file", str(override)]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}

    def compose(self, *words: str, timeout_s: float = 180, check: bool = True, stdin: str = "") -> str:
        """Run `docker compose …` and return its standard output."""
        command = ("docker", "compose", *self._options, *words)
        return run(*command, cwd=ROOT, env=self._environment, timeout_s=timeout_s, check=check, stdin=stdin).stdout

    def up(self, *words: str) -> None:
        """Start what is not running, and wait until everything is healthy."""
        self.compose("up", *UP, *words)

    def up_with_tls(self) -> None:
        """Start everything with the proxy, and wait until everything is healthy."""
        self.compose(*TLS, "up", *UP)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--no-trunc", service).split()

    def logs(self) -> str:
        return self.compose("logs", "--no-log-prefix")

    def remove(self) -> None:
        """Remove everything: containers, network, volumes and images. The layers stay in the build cache."""
        self.compose(*TLS, "down", "--volumes", "--remove-orphans")
        run("docker", "image", "rm", "--force", *self.images, check=False)

    def leftovers(self) -> list[str]:
        """List containers, volumes and networks that still have the project's label."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            f"{kind} {name}"
            for kind, words in {
                "container": ("ps", "--all", "--quiet"),
                "volume": ("volume", "ls", "--quiet"),
                "network": ("network", "ls", "--quiet"),
            }.items()
            for name in run("docker", *words, "--filter", label).stdout.split()
        ]
