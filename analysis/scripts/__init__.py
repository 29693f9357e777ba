"""Python scripts that train jobs again with only NumPy and Keras. Pure: from facts of a job to text."""
