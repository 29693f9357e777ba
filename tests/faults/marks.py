"""The stacks on which a fault is tested: all of them in the proofs, at most one in every run."""

import pytest

SQLITE, CELERY = "sqlite", "celery"


def on(*kinds: str, always: str | None = None) -> pytest.MarkDecorator:
    """Mark a test for these kinds of stack as a proof, and for `always` in every run."""
    chosen = kinds or (SQLITE, CELERY)
    cases = [pytest.param(kind, marks=[] if kind == always else [pytest.mark.proof]) for kind in chosen]
    return pytest.mark.parametrize("kind", cases, indirect=True)
