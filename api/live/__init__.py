"""Long polls and server-sent events."""
