"""Writes the dashboard part of `make reference`: names and sentences that it needs without a request."""

import json
from collections.abc import Mapping

from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.resources import StudyStatus
from heldout.remedies.catalogue import REMEDIES
from heldout.words.labels import (
    REMEDY_NAMES,
    SPEC_FIELDS,
    STUDY_KINDS,
    VERDICT_NAMES,
)

Label = str | list[str] | frozenset[str] | Mapping[str, str]
HEAD = "/** `make reference` writes this file from `heldout/words`. */\n"


def write_labels() -> str:
    """Return the source of `web/src/words/labels.ts`."""
    words = "Record<string, string>"
    tables: dict[str, tuple[str, Label]] = {
        "VERDICTS": (words, VERDICT_NAMES),
        "REMEDIES": (words, REMEDY_NAMES),
        "WHAT_IT_DOES": (words, {name: remedy.reason for name, remedy in REMEDIES.items()}),
        "STUDY_KINDS": (words, STUDY_KINDS),
        "STUDY_STATUSES": ("('running' | 'succeeded' | 'failed' | 'cancelled')[]", [*StudyStatus]),
        "STATUSES": ("string[]", [*JobStatus]),
        "ENDED": ("ReadonlySet<string>", TERMINAL),
        "SPEC_FIELDS": (words, SPEC_FIELDS),
    }
    return HEAD + "".join(
        f"\nexport const {name}: {kind} = {_as_source(value)}\n" for name, (kind, value) in tables.items()
    )


def _as_source(value: Label) -> str:
    if isinstance(value, frozenset):
        return f"new Set({json.dumps(sorted(value))})"
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, indent=2)
