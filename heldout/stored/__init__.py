"""What one part of Heldout stores for another to read: names of artifacts, and JSON files with a format version."""
