"""Writes the Docker Compose parts of `make reference`: `.env.example`, and the settings passed to containers."""

import json
import re
import sys
import textwrap
from pathlib import Path

from pydantic.fields import FieldInfo

from heldout.service.settings import PREFIX, Settings
from heldout.service.start import COMPOSE_VARIABLES, OF_THE_IMAGE

COMPOSE = Path(__file__).resolve().parents[1] / "docker-compose.yml"
# Variables in docker-compose.yml: `${NAME}` with its default, or `:?` if there is none.
FILLED_IN = re.compile(r"\$\{(\w+):([-?])([^}]*)\}")
HEAD = """\
# Variables of docker-compose.yml; `make reference` writes this file. Copy it to .env and set the first three.
# The others have the defaults shown, or an example of a value. Put values with $, # or spaces in single quotes; a quote
# within them is written \\', and none may end in a backslash.
"""


def list_settings() -> str:
    """Return every setting that is passed to the containers if it is set."""
    return "".join(f"    {name}:\n" for name in _passed_on())


def _passed_on() -> dict[str, FieldInfo]:
    of_compose = {name for names in COMPOSE_VARIABLES.values() for name in names}
    fixed = set(re.findall(r"^ +(HELDOUT_\w+): \S", COMPOSE.read_text("utf-8"), re.MULTILINE))
    found = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items() if name not in OF_THE_IMAGE}
    return {name: field for name, field in found.items() if name not in fixed | of_compose}


def write_env_example() -> str:
    filled_in = {name: default for name, _, default in FILLED_IN.findall(COMPOSE.read_text("utf-8"))}
    required = {name for name, mark, _ in FILLED_IN.findall(COMPOSE.read_text("utf-8")) if mark == "?"}
    named = {name for names in COMPOSE_VARIABLES.values() for name in names}
    if lacking := filled_in.keys() - named:
        sys.exit(f"docker-compose.yml uses {sorted(lacking)}, which heldout/service/start.py does not describe")
    parts = [HEAD]
    for heading, names in COMPOSE_VARIABLES.items():
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
