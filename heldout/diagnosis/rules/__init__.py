"""The findings, grouped by what they are about: when each is reported, its evidence, explanation and remedies."""
