"""Pure computation on arrays and figures: no SQL, no HTTP, no TensorFlow."""
