"""What the service stores, as objects: each knows its id and remembers what was last received about it."""
