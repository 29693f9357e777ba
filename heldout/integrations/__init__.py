"""A job's figures in the formats of other programs: Keras' history, TensorBoard logs, MLflow runs."""
