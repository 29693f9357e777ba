"""Recorded trainings of bases and remedies, on which studies are replayed and judged."""
