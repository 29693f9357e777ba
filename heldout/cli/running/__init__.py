"""Runs the trainings of a study here, by a command of the user: `heldout cure --run`."""
