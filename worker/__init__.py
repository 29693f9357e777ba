"""Runs jobs: supervision claims and settles them, ingest makes datasets, training alone has TensorFlow."""
