"""What all views are made of: their base, times, and figures that may be unknown."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class View(BaseModel):
    """Base of everything that the API answers."""

    model_config = ConfigDict(frozen=True)


def rfc3339(moment: datetime) -> str:
    """A time in UTC to the millisecond, such as `2025-11-24T15:41:02.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json-unless-none")]
# A figure that is not finite is null: JSON has no NaN.
Figure = Annotated[float | None, BeforeValidator(_finite_or_none)]
