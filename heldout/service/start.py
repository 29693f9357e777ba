"""Starts the service's processes with settings from the environment, or ends them with one line about the error."""

import re

from pydantic import ValidationError
from pydantic_settings import SettingsError

from heldout.service.settings import PREFIX, Settings


def read_settings_or_exit() -> Settings:
    """Read the settings of this process. If one is wrong, print one line and exit with status 1."""
    try:
        return Settings()
    except ValueError as error:
        raise SystemExit(f"heldout: {describe_error(error)}") from None


def describe_error(error: ValueError) -> str:
    """Say in one line what is wrong, without the value itself: it may be a URL with a password."""
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        variable = _name_variable(named[1]) if named else "?"
        return f'setting {variable}: the value is not JSON; expected, for example, ["one", "two"].'
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    return "; ".join(
        f"setting {_name_variable('.'.join(map(str, field_error['loc'])))}: "
        f"{field_error['msg'].removeprefix('Value error, ')}"
        for field_error in error.errors()
    )


def _name_variable(setting: str) -> str:
    """Return the name of a setting's environment variable."""
    return setting if setting.isupper() else f"{PREFIX}{setting.upper()}"
