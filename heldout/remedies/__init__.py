"""Remedies: named changes of a spec, and the study arms made from them. Pure."""

from heldout.remedies.arms import ResolvedArm, resolve

__all__ = ["ResolvedArm", "resolve"]
