"""What one part of Heldout stores for another: figures, names of artifacts, and JSON files with a format version."""
