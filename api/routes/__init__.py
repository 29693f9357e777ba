"""The routes, one file for each group; what they answer is in heldout/views/."""
