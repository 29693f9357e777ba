"""The version of stored specs, which hides them from workers that cannot read them."""

import json
from hashlib import sha256
from typing import Any

from heldout.work.kinds import KINDS, SPEC_VERSION

# Digests of the specs of each version. A release that changes specs gets the next version and digest.
DIGESTS = {1: "f2c9f98d929e0c73", 2: "829eb237a3539f73", 3: "61f396f65378a216"}


def strip_words(schema: Any) -> Any:
    """Return a JSON schema without titles and descriptions."""
    if isinstance(schema, dict):
        return {name: strip_words(part) for name, part in schema.items() if name not in {"description", "title"}}
    return [strip_words(part) for part in schema] if isinstance(schema, list) else schema


def test_changed_specs_have_a_new_version() -> None:
    schemas = {kind.value: strip_words(about.spec.model_json_schema()) for kind, about in KINDS.items()}
    digest = sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:16]
    assert DIGESTS[SPEC_VERSION] == digest, (
        f"Stored specs have changed, so that earlier releases cannot read them. Add 1 to SPEC_VERSION in "
        f"heldout/work/kinds.py, unless this release has done so already, and note {digest!r} here."
    )
