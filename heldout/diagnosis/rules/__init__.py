"""One file for each finding: when it is reported, with which evidence, words and remedies."""
