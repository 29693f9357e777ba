"""Writes the Docker Compose parts of `make reference`: `.env.example`, and the settings passed to containers."""

import json
import re
import sys
import textwrap
from pathlib import Path

from pydantic.fields import FieldInfo

from heldout.service.settings import PREFIX, Settings
from heldout.service.start import COMPOSE_VARIABLES

COMPOSE = Path(__file__).resolve().parents[1] / "docker-compose.yml"
# Variables in docker-compose.yml: `${NAME}` with its default, or `:?` if there is none.
FILLED_IN = re.compile(r"\$\{(\w+):([-?])([^}]*)\}")
HEAD = """\
# Variables of docker-compose.yml; `make reference` writes this file. Copy it to .env and set the first three.
# The others have the defaults shown, or an example of a value. Put values with $, # or spaces in single quotes; a quote
# within them is written \\', and none may end in a backslash.
"""
# In Docker Compose, the image, the network and the volumes decide these. All other settings are passed to containers.
OF_THE_IMAGE = {"home", "host", "port", "datasets", "worker_name", "stop_with_stdin", "predict_idle_s"}
# The variables of docker-compose.yml, by headings of `.env.example`. An empty text means the setting's own description.
VARIABLES: dict[str, dict[str, str]] = {
    "secrets: no defaults; any characters. `openssl rand -base64 24` makes a good one": {
        "HELDOUT_SECRETS_KEY": "Encrypts webhook secrets in the database. Keep it with the backups' keys: without it "
        "no message is sent.",
        "POSTGRES_PASSWORD": "The database's password. It is set when the volume is first made; "
        "docs/how-to/compose.md says how to change it later.",
        "REDIS_PASSWORD": "The broker's password.",
    },
    "what is published": {
        "HELDOUT_PUBLISH_ADDRESS": "Address of this machine at which the API is published, as plain HTTP. `0.0.0.0` "
        "lets other machines reach it, past most firewalls.",
        "HELDOUT_PORT": "Port of the API on this machine.",
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
    "images: names that are built, or those of your registry; `scripts/pin-images` prints base images by digest": {
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


def list_settings() -> str:
    """Return every setting that is passed to the containers if it is set."""
    return "".join(f"    {name}:\n" for name in _passed_on())


def _passed_on() -> dict[str, FieldInfo]:
    fixed = set(re.findall(r"^ +(HELDOUT_\w+): \S", COMPOSE.read_text("utf-8"), re.MULTILINE))
    found = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items() if name not in OF_THE_IMAGE}
    return {name: field for name, field in found.items() if name not in fixed | _list_described()}


def _list_described() -> set[str]:
    return {name for names in VARIABLES.values() for name in names}


def write_env_example() -> str:
    filled_in = {name: default for name, _, default in FILLED_IN.findall(COMPOSE.read_text("utf-8"))}
    required = {name for name, mark, _ in FILLED_IN.findall(COMPOSE.read_text("utf-8")) if mark == "?"}
    if lacking := filled_in.keys() - _list_described():
        sys.exit(f"docker-compose.yml uses {sorted(lacking)}, which scripts/compose.py does not describe")
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    no_settings = {name for name in _list_described() - settings if name.startswith(PREFIX)}
    if unlike := no_settings ^ set(COMPOSE_VARIABLES):
        sys.exit(f"heldout/service/start.py and scripts/compose.py differ in {sorted(unlike)}")
    parts = [HEAD]
    for heading, names in VARIABLES.items():
        parts.append(f"\n# --- {heading}\n\n")
        for name, meaning in names.items():
            field = Settings.model_fields.get(name.removeprefix(PREFIX).lower())
            line = f"{name}=" if name in required else f"#{name}={filled_in.get(name, '')}"
            parts.append(_commented(meaning or str(field and field.description), line))
    parts.append("\n# --- settings of API, predictions and workers\n\n")
    for name, field in _passed_on().items():
        parts.append(_commented(field.description or "", f"#{name}={_shown(field)}"))
    return "".join(parts)


def _commented(meaning: str, line: str) -> str:
    words = re.sub(r"\[([^]]*)\]\(\.\./([^)]*)\)", r"\1: docs/\2", meaning)
    return "".join(
        f"{part}\n"
        for part in (*textwrap.wrap(f"# {words}", 120, subsequent_indent="# ", break_on_hyphens=False), line)
    )


def _shown(field: FieldInfo) -> str:
    """Return a setting's default, or an example if it has none, as a line of `.env`."""
    value = field.examples[0] if field.examples else field.default
    if isinstance(value, list):
        return f"'{json.dumps(value)}'"
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
