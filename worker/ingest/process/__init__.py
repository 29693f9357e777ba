"""The process that ingests one upload: its start and end, its entry, and what both sides say to each other."""
