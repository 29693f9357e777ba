"""How the service's processes begin: with settings from the environment, or with one line that says what is wrong."""

import re

from pydantic import ValidationError
from pydantic_settings import SettingsError

from heldout.service.settings import PREFIX, Settings


def settings_or_exit() -> Settings:
    """The settings of this process. Where one is wrong, the process ends as `heldout` does: a line, and status 1."""
    try:
        return Settings()
    except ValueError as error:
        raise SystemExit(f"heldout: {told(error)}") from None


def told(error: ValueError) -> str:
    """What is wrong with settings, or another value, in one line. Never the value: it may be a URL with a password."""
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        variable = _variable(named[1]) if named else "?"
        return f'setting {variable}: the value is no JSON; expected such as ["one", "two"].'
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    return "; ".join(
        f"setting {_variable('.'.join(map(str, one['loc'])))}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    )


def _variable(setting: str) -> str:
    """As the environment names it."""
    return setting if setting.isupper() else f"{PREFIX}{setting.upper()}"
