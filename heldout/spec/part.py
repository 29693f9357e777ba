"""What all parts of all specs are like, and what several of them need."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

MAX_SEED = 2**31 - 1


class SpecPart(BaseModel):
    """Base of all parts of a spec: frozen, strict about types, unknown fields refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, data: Any) -> Any:
        """An optional part may be absent or null; both mean its default."""
        if not isinstance(data, dict):
            return data
        fields = cls.model_fields
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in fields or fields[key].is_required()
        }
