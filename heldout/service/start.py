"""Starts the service's processes with settings from the environment, or ends them with one line about the error."""

import re
import socket
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_settings import SettingsError

from heldout.errors import OperatorError
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


def bind_socket(settings: Settings, advice: str) -> socket.socket:
    """Bind a socket to the settings' address. It does not listen yet.

    Raises:
        OperatorError: the port cannot be used. Its message ends with the advice.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise OperatorError(f"Port {settings.port} cannot be used: {error.strerror}. {advice}") from error
    return bound


# Read by clients: heldout/client/locate.py.
CLIENT_VARIABLES = ("HELDOUT_URL", "HELDOUT_API_KEY")
# Other variables of docker-compose.yml. `scripts/compose.py` describes them.
COMPOSE_VARIABLES = (
    "HELDOUT_PUBLISH_ADDRESS",
    "HELDOUT_TLS_PORT",
    "HELDOUT_REDIRECT_PORT",
    "HELDOUT_TLS_FOLDER",
    "HELDOUT_WORKER_MEMORY",
    "HELDOUT_GPU_WORKER_MEMORY",
    "HELDOUT_API_MEMORY",
    "HELDOUT_PREDICT_MEMORY",
    "HELDOUT_WORKER_CPUS",
    "HELDOUT_PREDICT_CPUS",
    "HELDOUT_IMAGE",
    "HELDOUT_GPU_IMAGE",
    "HELDOUT_PROXY_IMAGE",
)


def list_unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """Write a sentence for each `HELDOUT_*` variable that is ignored, with the most similar setting."""
    settings = sorted(field.upper() for field in Settings.model_fields)
    known = {*CLIENT_VARIABLES, *COMPOSE_VARIABLES, *(PREFIX + setting for setting in settings)}
    sentences = []
    for name in sorted(environment):
        if environment[name] and name.upper().startswith(PREFIX) and name.upper() not in known:
            nearest = get_close_matches(name.upper().removeprefix(PREFIX), settings, n=1)
            meant = f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "."
            sentences.append(f"{name} is not a setting and is ignored{meant}")
    return sentences
