"""Studies: what one is asked to measure, in the words of its clients."""
