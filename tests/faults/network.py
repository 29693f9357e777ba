"""Hosts in a separate network: Linux network namespaces around one switch, each with a link that can be cut."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "heldout-test"
CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")


class NotAllowed(Exception):
    """This machine does not allow a network to be made; the message gives the reason."""


class Host:
    """A machine as seen from the network."""

    def __init__(self, network: str, number: int) -> None:
        self.address = f"10.99.0.{number}"
        self._namespace = f"{network}-{number}"
        self._switch = f"{network}-switch"
        self._port = f"port{number}"
        _ip("netns", "add", self._namespace)
        self._ip("link", "set", "lo", "up")
        link = ["link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace]
        _ip("-n", self._switch, *link)
        _ip("-n", self._switch, "link", "set", self._port, "master", "switch", "up")
        self._ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self._ip("link", "set", "eth0", "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Put what this thread opens in the block, and all processes that it starts, on this host."""
        with Path("/proc/thread-self/ns/net").open() as before:
            _enter(NAMESPACES / self._namespace)
            try:
                yield
            finally:
                _set_namespace(before.fileno())

    def cut(self) -> None:
        """Pull the cable at the switch: no one is notified, and answers stop."""
        _ip("-n", self._switch, "link", "set", self._port, "down")

    def fix(self) -> None:
        _ip("-n", self._switch, "link", "set", self._port, "up")

    def _ip(self, *arguments: str) -> None:
        _ip("-n", self._namespace, *arguments)


@contextmanager
def network_of(count: int) -> Iterator[list[Host]]:
    """Make hosts on one switch, isolated from everything else. They are removed after the block.

    Raises:
        NotAllowed: before anything is left.
    """
    _remove_abandoned()
    name = f"{PREFIX}-{os.getpid()}"
    try:
        _ip("netns", "add", f"{name}-switch")
        _ip("-n", f"{name}-switch", "link", "add", "switch", "type", "bridge")
        _ip("-n", f"{name}-switch", "link", "set", "switch", "up")
        hosts = [Host(name, number) for number in range(1, count + 1)]
        with hosts[0].inside():
            pass
        yield hosts
    finally:
        _remove(name)


def _enter(namespace: Path) -> None:
    with namespace.open() as file:
        _set_namespace(file.fileno())


def _set_namespace(descriptor: int) -> None:
    """Set the namespace of this thread alone. `os.setns` is newer than our oldest Python."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise NotAllowed(f"setns: {os.strerror(ctypes.get_errno())}")


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)
    except FileNotFoundError as error:
        raise NotAllowed("there is no program `ip` (package iproute2)") from error
    except subprocess.CalledProcessError as error:
        raise NotAllowed(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error


def _remove(network: str) -> None:
    for namespace in NAMESPACES.glob(f"{network}-*"):
        with suppress(NotAllowed):
            _ip("netns", "delete", namespace.name)  # its links go with it


def _remove_abandoned() -> None:
    """Remove the networks of test runs that were killed."""
    for switch in NAMESPACES.glob(f"{PREFIX}-*-switch"):
        network = switch.name.removesuffix("-switch")
        if not Path(f"/proc/{network.rpartition('-')[2]}").exists():
            _remove(network)
