"""Finds free TCP ports for child servers."""

import random
import socket

from heldout.errors import OperatorError

# Outgoing connections get ports from 32768 on by default: they could take a server's port while it is down.
SERVER_PORTS = range(10_000, 30_000)
TRIES = 100


def free_port(host: str) -> int:
    """A port on which nobody listens now."""
    for port in random.sample(SERVER_PORTS, TRIES):
        if not is_port_taken(host, port):
            return port
    raise OperatorError(f"No free port was found on {host}.")


def is_port_taken(host: str, port: int) -> bool:
    """Whether a server on this address would find the port in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
