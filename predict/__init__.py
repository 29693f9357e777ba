"""Predicts images with jobs' models, in separate processes that use onnxruntime and not TensorFlow."""
