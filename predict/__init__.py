"""Answers images with the models of jobs: processes of their own, with onnxruntime and without TensorFlow."""
