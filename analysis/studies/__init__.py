"""What a study does next, and what follows from its trainings: pure decisions, from figures to steps."""
