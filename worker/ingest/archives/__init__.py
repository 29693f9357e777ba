"""Members of uploaded archives, read within limits."""
