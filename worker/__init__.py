"""The only room with TensorFlow: takes jobs, trains them, measures them."""
