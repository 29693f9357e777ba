"""The base class of all parts of specs, and shared limits."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

MAX_SEED = 2**31 - 1


class SpecPart(BaseModel):
    """Base class of all parts of a spec: frozen, strict types, no unknown fields, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Drop nulls of optional fields: like absent ones, they mean the default."""
        if not isinstance(data, dict):
            return data
        fields = cls.model_fields
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in fields or fields[key].is_required()
        }
