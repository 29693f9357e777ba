"""Structured logs: one JSON object a line on standard error, with keys and passwords struck out."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog

from heldout.service.variables import list_unknown_settings

log = structlog.get_logger()

# What a careless message or an exception's text could carry: keys, sessions, links to log in, secrets of webhooks,
# bearer headers, passwords in URLs.
_SECRETS = (
    (re.compile(r"\b(h[osl]_[0-9a-f]{1,32})_[A-Za-z0-9_-]+"), r"\1_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), "whsec_***"),
    (re.compile(r"(?i)\b(bearer|basic) [^\s\"'\\,]+"), r"\1 ***"),
    (re.compile(r"(://[^:/@\s\"]*):[^@/\s\"]+@"), r"\1:***@"),
)

# A log file is set aside when it has so many bytes, and so many old ones are kept.
MAX_FILE_BYTES = 20 * 1024 * 1024
OLD_FILES = 4
# Clients and libraries choose what stands in a field; an exception's text is its traceback.
MAX_FIELD_CHARACTERS = 2_000
MAX_EXCEPTION_CHARACTERS = 20_000


def configure(level: str = "INFO", stream: TextIO | None = None, file: Path | None = None) -> None:
    """Send all logs of this process, libraries' ones too, to `stream` (standard error) or to `file` as JSON lines.

    A file is set aside before it is larger than MAX_FILE_BYTES.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(stream or sys.stderr)
    else:
        handler = RotatingFileHandler(
            file, maxBytes=MAX_FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(
        _WithoutSecrets(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _cut,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    for replaced in root.handlers:
        if isinstance(replaced, RotatingFileHandler):
            replaced.close()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    # uvicorn installs handlers of its own; the API writes its own line for each request.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    # It names each of its own parts when it is imported, also to whoever types a command.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


def warn_of_unknown_settings() -> None:
    """Log which `HELDOUT_*` variables of this process are ignored."""
    for sentence in list_unknown_settings(os.environ):
        log.warning("unknown_setting", detail=sentence)


def hide_secrets(text: str) -> str:
    """The text with keys, bearer tokens and passwords in URLs replaced by asterisks."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _cut(logger: object, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut texts to the longest length of a field; of an exception the end is kept, which says what happened."""
    for name, value in fields.items():
        limit = MAX_EXCEPTION_CHARACTERS if name == "exception" else MAX_FIELD_CHARACTERS
        if not isinstance(value, str) or len(value) <= limit:
            continue
        text = hide_secrets(value)  # before it is cut, since half a secret does not look like one
        fields[name] = f"…{text[1 - limit :]}" if name == "exception" else f"{text[: limit - 1]}…"
    return fields


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))
