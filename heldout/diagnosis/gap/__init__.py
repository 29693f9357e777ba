"""The gap between training and test, term by term: how large each is, whose it is, and how it is said."""
