"""Seals secrets that are kept in the database, so that a copy of the database alone gives none away.

The key comes from the setting `secrets_key`, or from a file in the home, which is made where there is none.
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
    """Seals and opens texts by one key, which is read, or made, when it is first needed."""

    def __init__(self, find_key: Callable[[], str]) -> None:
        """find_key: gives any text; what is sealed is as safe as that is hard to guess."""
        self._find_key = find_key

    @classmethod
    def of(cls, settings: Settings) -> "SecretBox":
        """The box of this service."""
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
        """Raises SecretsUnavailable if the key can be neither read nor made."""
        return PREFIX + self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text; what an earlier release has stored in clear is given as it is.

        Raises:
            SecretUnreadable: it was sealed by another key.
            SecretsUnavailable: the key can be neither read nor made.
        """
        if not is_sealed(sealed):
            return sealed
        try:
            return self._fernet.decrypt(sealed.removeprefix(PREFIX)).decode()
        except InvalidToken:
            raise SecretUnreadable from None


def is_sealed(text: str) -> bool:
    return text.startswith(PREFIX)


def _read_or_make_key(file: Path) -> str:
    """The key in the file, which is made once and readable by its owner alone."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.partial")
    if not file.exists():
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(Fernet.generate_key() + b"\n")
            os.fsync(opened.fileno())
        try:
            os.link(unfinished, file)  # of several processes that start at once one makes the key
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    return file.read_text(encoding="ascii").strip()
