"""Runs a study's trainings on this machine with the user's own command: `heldout cure --run`."""
