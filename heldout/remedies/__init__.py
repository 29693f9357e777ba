"""Remedies: named changes of a spec, and the arms of a study that they give. Pure."""

from heldout.remedies.arms import ResolvedArm, resolve

__all__ = ["ResolvedArm", "resolve"]
