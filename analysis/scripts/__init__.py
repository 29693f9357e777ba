"""Python scripts that train jobs once more with NumPy and Keras alone. Pure: from facts of a job to text."""
