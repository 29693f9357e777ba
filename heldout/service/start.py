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
# In Docker Compose, the image, the network and the volumes decide these. All other settings are passed to containers.
OF_THE_IMAGE = {"home", "host", "port", "datasets", "worker_name", "stop_with_stdin", "predict_idle_s"}
# The variables of docker-compose.yml, by headings of `.env.example`. An empty text means the setting's own description.
COMPOSE_VARIABLES: dict[str, dict[str, str]] = {
    "secrets: no defaults; any characters. `openssl rand -base64 24` makes a good one": {
        "HELDOUT_SECRETS_KEY": "Encrypts webhook secrets in the database. Keep it with the backups' keys: without it "
        "no message is sent.",
        "POSTGRES_PASSWORD": "The database's password. It is set when the volume is first made; "
        "docs/how-to/compose.md says how to change it later.",
        "REDIS_PASSWORD": "The broker's password.",
    },
    "what is published": {
        "HELDOUT_PORT": "Port of the API on this machine. `127.0.0.1:8000` hides it from other machines.",
        "HELDOUT_TLS_PORT": "With the profile tls: the port of https.",
        "HELDOUT_REDIRECT_PORT": "With the profile tls: the port of http, which redirects to https.",
        "HELDOUT_TLS_FOLDER": "With the profile tls: the folder that holds fullchain.pem and privkey.pem.",
    },
    "limits": {
        "HELDOUT_SLOTS": "Jobs that one worker runs at once. Each takes about a core and up to a gigabyte.",
        "HELDOUT_WORKER_MEMORY": "Memory of each worker's container.",
        "HELDOUT_GPU_WORKER_MEMORY": "Memory of each worker's container with a GPU.",
        "HELDOUT_API_MEMORY": "Memory of the API's container.",
        "HELDOUT_PREDICT_MEMORY": "Memory of the prediction container.",
        "POSTGRES_MEMORY": "Memory of the database's container.",
        "REDIS_MEMORY": "Memory of the broker's container.",
        "PROXY_MEMORY": "Memory of the proxy's container.",
        "HELDOUT_WORKER_CPUS": "Cores that one worker may use; 0 means all.",
        "HELDOUT_PREDICT_CPUS": "Cores that prediction processes may use; 0 means all.",
        "POSTGRES_CONNECTIONS": "Connections to the database: twenty each for the API, every worker and every "
        "prediction process.",
    },
    "images: names that are built, or those of your registry; `make release` prints base images by digest": {
        "HELDOUT_IMAGE": "API, predictions and workers.",
        "HELDOUT_GPU_IMAGE": "Workers with a GPU.",
        "HELDOUT_PROXY_IMAGE": "The proxy.",
        "PYTHON_IMAGE": "The base of the images above.",
        "POSTGRES_IMAGE": "The database.",
        "REDIS_IMAGE": "The broker.",
    },
    "datasets, checkpoints and models: a volume of this machine, or S3": {
        "HELDOUT_BLOBS": "",
        "AWS_ACCESS_KEY_ID": "Access key for S3.",
        "AWS_SECRET_ACCESS_KEY": "Secret key for S3.",
        "AWS_REGION": "Region of S3.",
        "AWS_ENDPOINT": "Only for stores other than Amazon's.",
        "AWS_ALLOW_HTTP": "`true` for a store without TLS.",
        "AWS_TIMEOUT": "How long one request to the store may take, such as `10s`; default: 30 seconds.",
    },
}


def list_unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """Write a sentence for each `HELDOUT_*` variable that is ignored, with the most similar setting."""
    settings = sorted(field.upper() for field in Settings.model_fields)
    known = {*CLIENT_VARIABLES, *(PREFIX + setting for setting in settings)}.union(*COMPOSE_VARIABLES.values())
    sentences = []
    for name in sorted(environment):
        if environment[name] and name.upper().startswith(PREFIX) and name.upper() not in known:
            nearest = get_close_matches(name.upper().removeprefix(PREFIX), settings, n=1)
            meant = f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "."
            sentences.append(f"{name} is not a setting and is ignored{meant}")
    return sentences
