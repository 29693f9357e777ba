"""Secrets in the database are sealed, and only their key opens them."""

import stat

import pytest

from heldout.errors import SecretsUnavailable, SecretUnreadable
from heldout.service.settings import Settings
from models.secret_box import KEY_FILE, SecretBox


def test_only_the_same_key_opens_a_sealed_secret(tmp_path):
    box, other = SecretBox(lambda: "a key of ours"), SecretBox(lambda: "a key of others")
    sealed = box.seal("whsec_secret")
    assert "secret" not in sealed
    assert box.open(sealed) == "whsec_secret"
    assert sealed != box.seal("whsec_secret"), "equal secrets must not look the same"
    with pytest.raises(SecretUnreadable):
        other.open(sealed)
    with pytest.raises(SecretUnreadable):
        box.open(sealed[:-2])
    with pytest.raises(SecretUnreadable):
        box.open("whsec_in_clear")


def test_the_key_is_made_once_in_the_home_and_readable_only_by_its_owner(tmp_path):
    settings = Settings(home=tmp_path / "home")
    sealed = SecretBox.of(settings).seal("text")
    assert stat.S_IMODE((settings.home_path / KEY_FILE).stat().st_mode) == 0o600
    assert SecretBox.of(settings).open(sealed) == "text", "the next process has the same key"
    assert [path.name for path in settings.home_path.iterdir()] == [KEY_FILE]


def test_the_setting_takes_precedence_over_the_file(tmp_path):
    settings = Settings(home=tmp_path / "home", secrets_key="a long and random text")
    sealed = SecretBox.of(settings).seal("text")
    assert not settings.home_path.exists()
    assert SecretBox.of(settings.model_copy(update={"home": tmp_path / "other"})).open(sealed) == "text"


def test_a_home_where_no_key_can_be_made_is_reported(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SecretsUnavailable, match="HELDOUT_SECRETS_KEY"):
        SecretBox.of(Settings(home=tmp_path / "home")).seal("text")
