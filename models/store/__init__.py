"""All SQL statements. Functions take a Session, decide with pure functions, compare and swap, and never commit."""
