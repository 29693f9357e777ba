"""Decisions about webhooks: when to retry, and which addresses are allowed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.access.webhooks import (
    MAX_URL_CHARACTERS,
    Allowed,
    compute_next_attempt,
    explain_refused_address,
    explain_refused_url,
    is_public,
)
from heldout.service.settings import Settings

NONE = Allowed()


def test_eight_attempts_are_made_within_28_hours():
    pauses = [compute_next_attempt(attempts) for attempts in range(1, 9)]
    assert pauses == [5, 300, 1800, 7200, 18000, 36000, 36000, None]
    assert compute_next_attempt(100) is None


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1"),
        *("239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
        *(
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *("fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address):
    assert explain_refused_address("hooks.example.org", address, NONE) is not None
    assert "HELDOUT_WEBHOOK_ALLOW" in explain_refused_address("hooks.example.org", address, NONE)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address):
    assert explain_refused_address("hooks.example.org", address, NONE) is None


@given(st.ip_addresses())
def test_no_special_address_of_the_standard_library_is_public(address):
    if is_public(address) and address not in ipaddress.ip_network("64:ff9b::/96"):
        kinds = ("private", "loopback", "link_local", "multicast", "unspecified", "reserved")
        assert not any(getattr(address, f"is_{kind}") for kind in kinds)


def test_invalid_addresses_are_refused():
    assert explain_refused_address("h", "localhost", NONE) is not None
    assert explain_refused_address("h", "", NONE) is not None


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "//example.org", "example.org", "https:///x", "https://", ""),
        *("https://user@example.org/", "https://user:pw@example.org/", "https://example.org/#part", "https://[::1/"),
        *("https://example.org:0/", "https://example.org:99999/", "https://example.org:x/", "https://exa mple.org/"),
        *(
            "https://example.org\\@evil.org/",
            "https://ex\nample.org/",
            "https://bücher.example/",
            "https://%31.example/",
        ),
        *("https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://127.0.0.1/", "https://[::1]/"),
        *("https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest", "https://10.0.0.1:8443/", "javascript:x"),
        "https://example.org/" + "x" * MAX_URL_CHARACTERS,
    ],
)
def test_forbidden_urls_are_refused_with_a_reason(url):
    reason = explain_refused_url(url, NONE)
    assert reason is not None
    assert reason.endswith(".")
    assert "Invalid IPv6" not in reason
    assert "cast" not in reason


@pytest.mark.parametrize(
    "url",
    ["https://example.org", "https://hooks.example.org:8443/a?b=c%20d", "https://1.1.1.1/", "https://[2606:4700::1]/x"],
)
def test_public_https_urls_are_accepted(url):
    assert explain_refused_url(url, NONE) is None


def test_the_operator_can_allow_hosts_and_networks_also_over_http():
    allowed = Allowed.of(["Hooks.internal", "10.0.0.0/8", "127.0.0.1", "fd00::/8"])
    for url in ("http://hooks.internal/", "https://HOOKS.internal/", "http://10.1.2.3:80/", "http://[fd00::1]/"):
        assert explain_refused_url(url, allowed) is None
    for url in (
        "http://other.internal/",
        "http://192.168.0.1/",
        "http://hooks.internal.evil.org/",
        "http://127.0.0.2/",
    ):
        assert explain_refused_url(url, allowed) is not None
    assert explain_refused_address("hooks.internal", "192.168.0.1", allowed) is None
    assert explain_refused_address("other.internal", "10.1.2.3", allowed) is None
    assert explain_refused_address("other.internal", "192.168.0.1", allowed) is not None
    assert explain_refused_address("other.internal", "::ffff:10.1.2.3", allowed) is not None


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.0/33", "300.1.1.1", "a b", "", "http://x", "*.internal"])
def test_an_invalid_host_or_network_is_refused_at_startup(entry):
    with pytest.raises(ValueError, match="expected a host name"):
        Settings(webhook_allow=[entry])
