"""Which stack a fault is shown on: all of them in the proofs, at most one in every run."""

import pytest

SQLITE, CELERY = "sqlite", "celery"


def on(*kinds: str, always: str | None = None) -> pytest.MarkDecorator:
    """On these kinds of stack, as proofs; on `always` in every run."""
    chosen = kinds or (SQLITE, CELERY)
    cases = [pytest.param(kind, marks=[] if kind == always else [pytest.mark.proof]) for kind in chosen]
    return pytest.mark.parametrize("kind", cases, indirect=True)
