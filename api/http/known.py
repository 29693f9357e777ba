"""What is noted in the state of a request whose key has been found valid: its connection is not a stranger's."""

KNOWN = "is_known"
