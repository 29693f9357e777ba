"""The features that the frozen part of a network gives, computed once for many epochs and jobs."""
