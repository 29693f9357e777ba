"""Recorded trainings of bases and remedies, from which studies are replayed and judged."""
