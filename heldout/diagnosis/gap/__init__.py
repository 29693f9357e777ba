"""The gap between training and test, term by term."""
