"""The old place of `heldout.words`."""

from heldout.words import counted, figure_of, percent, percent_range

__all__ = ["counted", "figure_of", "percent", "percent_range"]
