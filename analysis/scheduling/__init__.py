"""How long work takes, and whose job is next. Pure."""
