"""What parts of Heldout store for each other: figures, names of artifacts, and JSON files with format versions."""
