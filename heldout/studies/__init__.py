"""Studies: what clients ask them to measure."""
