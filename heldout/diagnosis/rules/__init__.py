"""One file per finding: when it is reported, and its evidence, explanation and remedies."""
