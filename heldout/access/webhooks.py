"""The rules of webhooks: their events, when to retry, and which addresses are allowed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, get_args
from urllib.parse import urlsplit


class SubjectObject(StrEnum):
    """What an event can be about."""

    JOB = "job"
    DATASET = "dataset"
    STUDY = "study"
    MODEL = "model"
    EVALUATION = "evaluation"
    WEBHOOK = "webhook"


# The events that webhooks may ask for. `scripts/events.py` describes these, and those of lists and streams.
WebhookEvent = Literal[
    "job.started",
    "job.paused",
    "job.requeued",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "job.overfitting",
    "dataset.uploading",
    "dataset.checking",
    "dataset.ready",
    "dataset.rejected",
    "dataset.deleted",
    "study.finished",
    "model.checking",
    "model.ready",
    "model.rejected",
    "model.deleted",
    "evaluation.started",
    "evaluation.requeued",
    "evaluation.succeeded",
    "evaluation.failed",
    "evaluation.cancelled",
    "webhook.disabled",
]
WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
# The event of a test message; webhooks get it without subscribing.
PING = "webhook.ping"

# Seconds from each failed attempt to the next: eight attempts within 28 hours.
RETRY_DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
# How long a replaced secret still signs in addition to its successor.
OLD_SECRET_SIGNS_FOR_S = 24 * 3600

# A webhook is disabled once all of this many attempts failed, over at least this time.
BREAK_AFTER_FAILURES = 10
BREAK_AFTER_S = 24 * 3600
# After this many consecutive failures, it gets one attempt at a time.
SUSPECT_AFTER_FAILURES = 3

MAX_URL_CHARACTERS = 2048
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")

Address = IPv4Address | IPv6Address

# From IANA's registries of special-purpose addresses: networks that do not lead to hosts on the public internet.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by customers of carriers (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds serve the secrets of machines
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks of network devices
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Everything outside this network is unassigned, local, multicast, or wraps an IPv4 address.
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo, which wraps IPv4 addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which wraps IPv4 addresses
        "3fff::/20",  # documentation
    )
)
# How networks without IPv4 write the addresses of hosts that only have IPv4.
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks that the operator allows for webhooks, also over http."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Allowed":
        """Parse host names, addresses and CIDRs. Raises ValueError for anything else."""
        hosts, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError as error:
                if "/" in entry or entry.replace(".", "").isdigit() or not _HOST.fullmatch(entry):
                    expected = "a host name, an address or a network such as 10.0.0.0/8 with no bits set after it"
                    raise ValueError(f"Received {entry!r}; expected {expected}.") from error
                hosts.add(entry.lower())
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str) -> bool:
        """Return whether the operator named this host or, if it is an address, a network that contains it."""
        address = _parse_address(host)
        return host.lower() in self.hosts if address is None else self.holds(address)

    def holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def compute_next_attempt(attempts: int) -> int | None:
    """Seconds until the next attempt after this many failures; None to give up."""
    return RETRY_DELAYS_S[attempts - 1] if attempts <= len(RETRY_DELAYS_S) else None


def is_broken(failures: int, failing_s: float) -> bool:
    """Return whether to disable a webhook. failures: consecutive ones. failing_s: seconds since the first of them."""
    return failures >= BREAK_AFTER_FAILURES and failing_s >= BREAK_AFTER_S


def explain_refused_url(url: str, allowed: Allowed) -> str | None:
    """Say why this URL is not allowed, or return None if it is. Names are only resolved when it is called."""
    if len(url) > MAX_URL_CHARACTERS:
        return f"It has {len(url)} characters; at most {MAX_URL_CHARACTERS} are allowed."
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "It must be printable ASCII without spaces or backslashes; write other characters percent-encoded."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "It is not a URL: its host or its port cannot be read."
    if parts.scheme not in {"https", "http"} or not host:
        return "It must begin with `https://` and a host."
    if parts.username is not None or parts.password is not None or parts.fragment or port == 0:
        return "It must have no user, no password, no fragment and no port 0."
    if _parse_address(host) is None and not _HOST.fullmatch(host):
        return "Its host must be a name of letters, digits, dots and hyphens, or an address."
    if parts.scheme == "http" and not allowed.names(host):
        return "It must begin with `https://`; the operator can allow http for a host with HELDOUT_WEBHOOK_ALLOW."
    return explain_refused_host(host, allowed)


def explain_refused_host(host: str, allowed: Allowed) -> str | None:
    """Say why a URL's host may not be called, without resolving its name; None if it may."""
    if allowed.names(host):
        return None
    if host.lower().rstrip(".").rpartition(".")[2] == "localhost":
        return "It leads to the service's own machine; the operator can allow that with HELDOUT_WEBHOOK_ALLOW."
    return None if _parse_address(host) is None else explain_refused_address(host, host, allowed)


def explain_refused_address(host: str, address: str, allowed: Allowed) -> str | None:
    """Say why this address of `host` may not be called; None if it may."""
    parsed = _parse_address(address)
    if parsed is not None and (host.lower() in allowed.hosts or allowed.holds(parsed) or is_public(parsed)):
        return None
    return (
        f"{host} does not lead to a public address. Use a host on the public internet, or ask the operator to allow it "
        "with HELDOUT_WEBHOOK_ALLOW."
    )


def is_public(address: Address) -> bool:
    """Return whether the address belongs to a single host on the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _PUBLIC_V6 and not any(address in network for network in _SPECIAL_V6)


def _parse_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
