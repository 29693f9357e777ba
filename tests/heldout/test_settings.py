"""Settings in parts (a password separate from its URL), and variables that are not settings."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import parse_url
from sqlalchemy import make_url

from heldout.service.database_urls import add_password
from heldout.service.settings import Settings
from heldout.service.start import list_unknown_settings

PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(PASSWORDS)
def test_any_password_reaches_the_database_unchanged(password):
    url = make_url(add_password("postgresql+psycopg://heldout@postgres:5432/heldout", password))
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "heldout",
        password,
        "postgres",
        5432,
        "heldout",
    )


@given(PASSWORDS)
def test_any_password_reaches_the_broker_unchanged(password):
    url = parse_url(add_password("redis://redis:6379/0", password))
    assert (url["password"], url["hostname"], url["port"], url["virtual_host"]) == (password, "redis", 6379, "0")


@pytest.mark.parametrize("url", ["postgresql://me:mine@host/db", "redis://:mine@host:6379/0", "sqlite:////home/a.db"])
def test_a_url_with_a_password_or_without_a_host_is_not_changed(url):
    assert add_password(url, "other") == url


def test_passwords_are_taken_from_the_environment_and_never_shown(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://heldout@postgres/heldout")
    monkeypatch.setenv("HELDOUT_DATABASE_PASSWORD", "p@ss/1")
    monkeypatch.setenv("HELDOUT_REDIS_URL", "redis://redis:6379/0")
    monkeypatch.setenv("HELDOUT_REDIS_PASSWORD", "r#d:s")
    settings = Settings()
    assert settings.database == "postgresql+psycopg://heldout:p%40ss%2F1@postgres/heldout"
    assert settings.redis_url.get_secret_value() == "redis://:r%23d%3As@redis:6379/0"
    assert not any(secret in repr(settings) for secret in ("p@ss", "p%40ss", "r#d", "r%23d"))


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("postgres://u:p/w:d@[::1]:5432/heldout?sslmode=require", True),
        ("postgresql://host/heldout", True),
        ("sqlite:////data/a@b:c/heldout.db", True),
        ("postgresql://u:p@host:port/heldout", False),
        ("mysql://host/heldout", False),
        ("nonsense", False),
    ],
)
def test_only_urls_of_supported_databases_are_accepted(monkeypatch, url, is_taken):
    monkeypatch.setenv("HELDOUT_DATABASE_URL", url)
    with nullcontext() if is_taken else pytest.raises(ValueError, match="HELDOUT_DATABASE_URL"):
        Settings()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "HELDOUT_MAX_INGESTS",
            "HELDOUT_MAX_INGESTS is not a setting and is ignored; did you mean HELDOUT_MAX_INGEST_S?",
        ),
        ("HELDOUT_SLOT", "HELDOUT_SLOT is not a setting and is ignored; did you mean HELDOUT_SLOTS?"),
        ("heldout_slot", "heldout_slot is not a setting and is ignored; did you mean HELDOUT_SLOTS?"),
        ("HELDOUT_QQQ", "HELDOUT_QQQ is not a setting and is ignored."),
    ],
)
def test_an_unknown_variable_is_named_with_the_most_similar_setting(name, sentence):
    assert list_unknown_settings({name: "5", "HELDOUT_SLOTS": "2"}) == [sentence]


def test_empty_variables_and_those_of_other_programs_are_ignored():
    assert list_unknown_settings({"HELDOUT_MAX_INGESTS": "", "PORT": "1", "HELDOUTX_SLOT": "1"}) == []
