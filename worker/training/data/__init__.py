"""The images of a training: read from a dataset's folder, and given in batches."""
