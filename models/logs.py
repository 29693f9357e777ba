"""Structured logs: one JSON object a line on standard error, with keys and passwords struck out."""

import logging
import os
import re
import sys
from typing import Any, TextIO

import structlog

from heldout.settings import unknown_settings

log = structlog.get_logger()

# What a careless message or an exception's text could carry: API keys, bearer headers, passwords in URLs.
_SECRETS = (
    (re.compile(r"\bho_([0-9a-f]{1,32})_[A-Za-z0-9_-]+"), r"ho_\1_***"),
    (re.compile(r"(?i)\b(bearer|basic) [^\s\"'\\,]+"), r"\1 ***"),
    (re.compile(r"(://[^:/@\s\"]*):[^@/\s\"]+@"), r"\1:***@"),
)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logs of this process, libraries' ones too, to `stream` (standard error) as JSON lines."""
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
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        _WithoutSecrets(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    # uvicorn installs handlers of its own; the API writes its own line for each request.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"


def warn_of_unknown_settings() -> None:
    """Log which `HELDOUT_*` variables of this process are ignored."""
    for sentence in unknown_settings(os.environ):
        log.warning("unknown_setting", detail=sentence)


def without_secrets(text: str) -> str:
    """The text with keys, bearer tokens and passwords in URLs replaced by asterisks."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
