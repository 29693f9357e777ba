"""Finds the service and a key for it: in the environment, or in the files of `heldout up`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from heldout.client.failures import NoService

DEFAULT_HOME = "~/.heldout"
_START = "Start one with `heldout up`, or set HELDOUT_URL and HELDOUT_API_KEY."


@dataclass(frozen=True)
class ServiceAddress:
    """An address and a key that belongs to it."""

    url: str
    api_key: str


def locate(home: Path | None = None, environment: Mapping[str, str] | None = None) -> ServiceAddress:
    """Find the service of `home`; without it, that of HELDOUT_URL and HELDOUT_API_KEY; else that of HELDOUT_HOME.

    A `home` given on the command line wins, because it is more explicit than the environment. An address without a
    key gets the key from the files only if it is on this machine, so that the key is never sent elsewhere.

    Raises:
        NoService: if no service runs there; its message says what to do.
    """
    environment = os.environ if environment is None else environment
    url, key = environment.get("HELDOUT_URL"), environment.get("HELDOUT_API_KEY")
    if home is not None:
        folder = _expand_folder(str(home))
        return ServiceAddress(_read_url(folder), _read_key(folder))
    folder = _expand_folder(environment.get("HELDOUT_HOME") or DEFAULT_HOME)
    if url and not key and not is_loopback(url):
        raise NoService(f"HELDOUT_URL is {url}; set HELDOUT_API_KEY to a key of that service.")
    return ServiceAddress(url or _read_url(folder), key or _read_key(folder))


def is_loopback(url: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def read_service_file(home: Path) -> tuple[str, int] | None:
    """Read `url` and `pid` from `service.json`; None if it is missing or incomplete."""
    try:
        service = json.loads((home / "service.json").read_text(encoding="utf-8"))
        return str(service["url"]), int(service["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_key_file(home: Path) -> str | None:
    """Read the key in `api-key`; None if it cannot be read."""
    try:
        return (home / "api-key").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def _read_url(home: Path) -> str:
    found = read_service_file(home)
    if found is None:
        raise NoService(f"No service runs in {home} (there is no service.json). {_START}")
    url, pid = found
    if not _is_alive(pid):
        raise NoService(f"The service of {home} has ended (process {pid}). {_START}")
    return url


def _read_key(home: Path) -> str:
    key = read_key_file(home)
    if key is None:
        raise NoService(f"{home / 'api-key'} has no key that this user can read. Set HELDOUT_API_KEY.")
    return key


def _is_alive(pid: int) -> bool:
    if pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def _expand_folder(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:  # neither HOME nor an entry in passwd
        raise NoService(
            f"This user has no home folder for {folder}. Set HELDOUT_HOME, or HELDOUT_URL and HELDOUT_API_KEY."
        ) from None
