"""The process that ingests one upload: its start and end, its entry point, and the messages of both sides."""
