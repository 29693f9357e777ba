"""How the service's processes begin: with settings from the environment, or with one line that says what is wrong."""

import re

from pydantic import ValidationError
from pydantic_settings import SettingsError

from heldout.service.settings import PREFIX, Settings


def read_settings_or_exit() -> Settings:
    """The settings of this process. Where one is wrong, the process ends as `heldout` does: a line, and status 1."""
    try:
        return Settings()
    except ValueError as error:
        raise SystemExit(f"heldout: {describe_error(error)}") from None


def describe_error(error: ValueError) -> str:
    """What is wrong with settings, or another value, in one line. Never the value: it may be a URL with a password."""
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        variable = _name_variable(named[1]) if named else "?"
        return f'setting {variable}: the value is no JSON; expected such as ["one", "two"].'
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    return "; ".join(
        f"setting {_name_variable('.'.join(map(str, field_error['loc'])))}: "
        f"{field_error['msg'].removeprefix('Value error, ')}"
        for field_error in error.errors()
    )


def _name_variable(setting: str) -> str:
    """As the environment names it."""
    return setting if setting.isupper() else f"{PREFIX}{setting.upper()}"
