"""The routes, one file per group. Their answers are in heldout/views/."""
