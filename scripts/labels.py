"""Writes the dashboard part of `make reference`: names and sentences that it needs without a request."""

import json
from collections.abc import Mapping

from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.lifecycle.study import StudyStatus
from heldout.remedies.catalogue import REMEDIES
from heldout.words import labels

Label = str | list[str] | frozenset[str] | Mapping[str, str]
HEAD = "/** `make reference` writes this file from `heldout/words`. */\n"


def write_labels() -> str:
    """Return the source of `web/src/words/labels.ts`."""
    words = "Record<string, string>"
    tables: dict[str, tuple[str, Label]] = {
        "VERDICTS": (words, labels.VERDICT_NAMES),
        "TERMS": (words, {code: term.name for code, term in labels.TERMS.items()}),
        "REMEDIES": (words, labels.REMEDY_NAMES),
        "WHAT_IT_DOES": (words, {name: remedy.reason for name, remedy in REMEDIES.items()}),
        "EFFECTS": (words, labels.EFFECTS),
        "HOW_TO_READ": ("string", labels.HOW_TO_READ),
        "STUDY_KINDS": (words, labels.STUDY_KINDS),
        "STUDY_STATUSES": ("('running' | 'succeeded' | 'failed' | 'cancelled')[]", [*StudyStatus]),
        "STATUSES": ("string[]", [*JobStatus]),
        "ENDED": ("ReadonlySet<string>", TERMINAL),
        "STOP_REASONS": (words, labels.STOP_REASONS),
        "AUDIT_FINDINGS": (words, labels.AUDIT_FINDINGS),
        "SPEC_FIELDS": (words, labels.SPEC_FIELDS),
    }
    return HEAD + "".join(
        f"\nexport const {name}: {kind} = {_as_source(value)}\n" for name, (kind, value) in tables.items()
    )


def _as_source(value: Label) -> str:
    if isinstance(value, frozenset):
        return f"new Set({json.dumps(sorted(value))})"
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, indent=2)
