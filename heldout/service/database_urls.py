"""Database URLs: checks which ones are supported, and adds passwords to them."""

from pathlib import Path
from urllib.parse import quote, urlsplit

SQLITE, POSTGRESQL = ("sqlite://", "sqlite+pysqlite://"), "postgresql+psycopg://"


def make_driver_url(url: str) -> str:
    """Return the URL with the installed driver: `postgres://` and `postgresql://` mean psycopg."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in {"postgres", "postgresql"}:
        return f"postgresql+psycopg://{rest}"
    return url


def is_of_a_database(url: str) -> bool:
    """Return whether the URL names a database that the service supports."""
    if not url.startswith(POSTGRESQL):
        return url.startswith(SQLITE)
    # The password may contain any character, unlike in other URLs.
    host = url.removeprefix(POSTGRESQL).partition("?")[0].rpartition("@")[2].partition("/")[0]
    port = host.rpartition("]")[2].partition(":")[2]
    return not port or port.isdecimal()


def get_sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for other databases."""
    return Path(url.partition("///")[2]) if url.startswith(SQLITE) else None


def add_password(url: str, password: str) -> str:
    """Add the encoded password to the URL, unless it has one already or names no host (SQLite)."""
    parts = urlsplit(url)
    if parts.password is not None or not parts.hostname:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
