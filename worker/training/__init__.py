"""The process that trains one job; the only room with TensorFlow."""
