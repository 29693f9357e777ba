"""How long work takes and whose turn it is. Pure."""
