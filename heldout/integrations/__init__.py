"""A job's figures in the forms of other programs: Keras' history, TensorBoard's logs, MLflow's runs."""
