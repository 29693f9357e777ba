"""The version of stored specs, which keeps them from workers of releases that cannot read them."""

import json
from hashlib import sha256
from typing import Any

from heldout.work.kinds import KINDS, SPEC_VERSION

# What the specs of each version look like. A release that changes them has the next version, with its own digest.
DIGESTS = {1: "f2c9f98d929e0c73", 2: "829eb237a3539f73", 3: "8f3fcf6ef0c773d5"}


def shape_of(schema: Any) -> Any:
    """What a JSON schema says of fields, without the words about them."""
    if isinstance(schema, dict):
        return {name: shape_of(part) for name, part in schema.items() if name not in {"description", "title"}}
    return [shape_of(part) for part in schema] if isinstance(schema, list) else schema


def test_specs_that_look_otherwise_than_those_of_their_version_have_another_version() -> None:
    schemas = {kind.value: shape_of(about.spec.model_json_schema()) for kind, about in KINDS.items()}
    digest = sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:16]
    assert DIGESTS[SPEC_VERSION] == digest, (
        f"Stored specs have changed, so that earlier releases cannot read them. Add 1 to SPEC_VERSION in "
        f"heldout/work/kinds.py, unless this release has done so already, and note {digest!r} here."
    )
