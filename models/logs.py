"""Structured logs: one JSON object per line on standard error, with keys and passwords removed."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog

from heldout.service.start import list_unknown_settings

log = structlog.get_logger()

# Secrets that a careless message or an exception could contain: keys, sessions, log-in links, webhooks' secrets, bearer
# headers, and passwords in URLs.
_SECRETS = (
    (re.compile(r"\b(h[osl]_[0-9a-f]{1,32})_[A-Za-z0-9_-]+"), r"\1_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), "whsec_***"),
    (re.compile(r"(?i)\b(bearer|basic) [^\s\"'\\,]+"), r"\1 ***"),
    (re.compile(r"(://[^:/@\s\"]*):[^@/\s\"]+@"), r"\1:***@"),
)

# A log file is rotated at this size, and this many old files are kept.
MAX_FILE_BYTES = 20 * 1024 * 1024
OLD_FILES = 4
# Clients and libraries choose the texts of fields. An exception's text includes its traceback.
MAX_FIELD_CHARACTERS = 2_000
MAX_EXCEPTION_CHARACTERS = 20_000


def configure(level: str = "INFO", stream: TextIO | None = None, file: Path | None = None) -> None:
    """Write all logs of this process and its libraries as JSON lines to `stream` (standard error) or to `file`.

    A file is rotated before it exceeds MAX_FILE_BYTES.
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
    # uvicorn installs its own handlers, but the API writes a line for each request itself.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    # On import, it logs each of its plug-ins, even when a user runs a command.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


def warn_of_unknown_settings() -> None:
    """Log the `HELDOUT_*` variables that this process ignores."""
    for sentence in list_unknown_settings(os.environ):
        log.warning("unknown_setting", detail=sentence)


def hide_secrets(text: str) -> str:
    """Replace keys, bearer tokens and passwords in URLs by asterisks."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _cut(logger: object, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut long texts. The end of an exception is kept, because it says what happened."""
    for name, value in fields.items():
        limit = MAX_EXCEPTION_CHARACTERS if name == "exception" else MAX_FIELD_CHARACTERS
        if not isinstance(value, str) or len(value) <= limit:
            continue
        text = hide_secrets(value)  # before cutting, because half a secret is not recognized
        fields[name] = f"…{text[1 - limit :]}" if name == "exception" else f"{text[: limit - 1]}…"
    return fields


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))
