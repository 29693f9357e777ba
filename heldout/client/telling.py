"""Tells the answers of a training to a study that compares it: through a run, or in a file of `heldout cure --run`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heldout.client.external_values import pack_npz, simplify_history
from heldout.histories.documents import read_document

# A run of a study, or the path of a file. Runs are not named here, so that a file needs no client.
Target = Any


def check_target(to: Target) -> None:
    """Check before a training where its answers will go.

    Raises:
        TypeError: it is neither a path nor a run that blocks.
    """
    if not isinstance(to, str | Path) and (not hasattr(to, "tell") or not getattr(to, "is_blocking", True)):
        raise TypeError(f"Received {to!r}; expected the path of an .npz, or a run of `client.studies.external`.")


def tell(to: Target, splits: Mapping[str, Mapping[str, Any]], history: Any) -> None:
    """Tell answers, `{split: {"labels", "probabilities", "hashes"}}`, and curves if they can be read as such."""
    curves = _keep_curves(history)
    if not isinstance(to, str | Path):
        to.tell(**splits, history=curves)
        return
    file = Path(to)
    if curves is not None:
        file.with_suffix(".history.json").write_text(json.dumps(curves), encoding="utf-8")
    # At the end: a file of answers says that the training is complete.
    file.write_bytes(pack_npz(splits))


def _keep_curves(history: Any) -> Any:
    """Return the curves as JSON, or None: those of training or of validation alone are refused as curves."""
    try:
        read_document(curves := simplify_history(history))
    except ValueError:
        return None
    return curves
