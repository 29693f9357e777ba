"""The base class of all parts of specs, and shared limits."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

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


class ChoiceSpec(SpecPart):
    """A choice by `name`, with fields that belong to one name each: they have a default there, and are null elsewhere.

    owned: for each such field the name that it belongs to, and its default. `name` is the first field.
    """

    owned: ClassVar[Mapping[str, tuple[str, Any]]]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = cls.model_fields["name"].default if data.get("name") is None else data["name"]
        filled = {field: default for field, (owner, default) in cls.owned.items() if owner == name}
        return data | {field: default for field, default in filled.items() if data.get(field) is None}

    @field_validator("*")
    @classmethod
    def _check_owner(cls, value: Any, info: ValidationInfo) -> Any:
        name, (owner, _) = info.data.get("name"), cls.owned.get(str(info.field_name), (None, None))
        if value is not None and owner is not None and name not in (None, owner):  # a refused name has its own error
            raise ValueError(f"`{info.field_name}` belongs to {owner}; {name} has none")
        return value
