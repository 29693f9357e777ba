"""Encrypts secrets in the database, so that a copy of the database alone reveals none of them.

The key comes from the setting `secrets_key`, or from a file in the home, which is created if needed.
"""

import hashlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from heldout.errors import SecretsUnavailable, SecretUnreadable
from heldout.service.settings import Settings

KEY_FILE = "secrets-key"
PREFIX = "sealed_"


class SecretBox:
    """Encrypts and decrypts texts with one key, which is read or created on first use."""

    def __init__(self, find_key: Callable[[], str]) -> None:
        """find_key: returns any text. Sealed texts are as safe as it is hard to guess."""
        self._find_key = find_key

    @classmethod
    def of(cls, settings: Settings) -> "SecretBox":
        """Make the box of this service."""
        given = settings.secrets_key
        return cls(
            partial(_read_or_make_key, settings.home_path / KEY_FILE) if given is None else given.get_secret_value
        )

    @cached_property
    def _fernet(self) -> Fernet:
        try:
            key = self._find_key()
        except OSError as error:
            raise SecretsUnavailable from error
        return Fernet(urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))

    def seal(self, text: str) -> str:
        """Encrypt a text. Raises SecretsUnavailable if the key can be neither read nor created."""
        return PREFIX + self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt a text.

        Raises:
            SecretUnreadable: if the text is not sealed, or was sealed with another key.
            SecretsUnavailable: if the key can be neither read nor created.
        """
        try:
            return self._fernet.decrypt(sealed.removeprefix(PREFIX)).decode()
        except InvalidToken:
            raise SecretUnreadable from None


def _read_or_make_key(file: Path) -> str:
    """Read the key from the file, or create the file, readable only by its owner."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.partial")
    if not file.exists():
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(Fernet.generate_key() + b"\n")
            os.fsync(opened.fileno())
        try:
            os.link(unfinished, file)  # if several processes start at once, only one creates the key
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    return file.read_text(encoding="ascii").strip()
