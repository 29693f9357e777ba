"""The worker's own process: claims jobs, follows their processes, settles them. Never imports TensorFlow."""
