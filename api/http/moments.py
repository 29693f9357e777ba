"""Moments that requests name: RFC 3339 and nothing else, where Pydantic would take a number of seconds too."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _require_text(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("send a moment as RFC 3339 has it, 2026-01-31T12:00:00Z say")


Moment = Annotated[datetime, BeforeValidator(_require_text)]
MomentWithZone = Annotated[AwareDatetime, BeforeValidator(_require_text)]
