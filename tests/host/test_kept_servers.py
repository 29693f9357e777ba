"""Servers of `heldout up --stack` that die are there again, with what was written to them."""

import os
import signal
from collections.abc import Callable

import psycopg
import pytest
import redis

from host.broker import RedisServer
from host.child_server import ChildServer, ServerFailed
from host.kept_servers import KeptServer
from host.postgres import PostgresServer
from host.process_table import is_alive, wait_until
from tests.servers_fixtures import memory_folder

PATIENCE_S = 60


def remember(url: str) -> None:
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            client.set("kept", "here")
    else:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'here' AS word")


def remembers(url: str) -> bool:
    try:
        if url.startswith("redis"):
            with redis.Redis.from_url(url, decode_responses=True) as client:
                return client.get("kept") == "here"
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3) as connection:
            return connection.execute("SELECT word FROM kept").fetchone() == ("here",)
    except (redis.RedisError, psycopg.OperationalError):
        return False


@pytest.mark.parametrize("kind", [PostgresServer, RedisServer], ids=["postgresql", "redis"])
def test_a_server_that_is_killed_is_there_again_at_the_same_address(kind: Callable[..., ChildServer]) -> None:
    with memory_folder() as folder:
        server = kind(folder)  # durable: what was acknowledged outlives a kill
        with KeptServer(server) as kept:
            remember(kept.url)
            first = server.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            assert wait_until(lambda: not is_alive(first), PATIENCE_S)
            assert wait_until(lambda: remembers(kept.url), PATIENCE_S)
            second = server.pid
            assert second not in {None, first}
        assert second is not None
        assert not is_alive(second)
        assert server.pid is None


def test_a_server_that_does_not_start_says_so_at_once() -> None:
    with memory_folder() as folder, RedisServer(folder / "first", durable=False) as first:
        second = RedisServer(folder / "second", durable=False, port=first.port)
        with pytest.raises(ServerFailed), KeptServer(second):
            pass
        assert second.pid is None
